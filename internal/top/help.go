//go:build linux

package top

import "strings"

// aboutColumns tells what the numbers are.
const aboutColumns = `
The kernel counts no messages and no operations. These figures are from looks one after the other:

  QUEUED  messages in the queues, System V and POSIX
  +/s     by how much QUEUED has changed since the look before, per second, or the sum of the values of a semaphore set: what came and went in between is not seen
  USED    objects of the namespace that were used since the look before
  ACTIVE  in how many of the last looks, of ten at most, the object had been used
  LAST    since the last send, receive, semop, attach or detach; the kernel does not tell it of POSIX message queues

An object was used if a time, a size, a value or a process that the kernel tells of it has changed. Times are whole seconds, so one of two uses within the same second may not be seen. MSG, SEM, SHM and MQ are how many there are: message queues, semaphore sets, segments and POSIX message queues; of a process, SHM and MQ are how many it has attached and open. COMMAND is that of the process with the lowest id, or in parentheses what keeps a namespace that has none.

Where there are many processes it takes long to search for them and for namespaces. That is done only so often that it takes half a percent of a core; the top line says when it was. What is on the screen is looked at each time, and that less often than asked for where it would take more than another 1.3 percent.
`

// aboutKeys is what ? shows before that.
const aboutKeys = `Enter    what is inside: the objects of a namespace, the processes that use an object
Esc      back; takes the filter away first
Tab      all processes of the namespace instead of its objects, and back
Up Down  move, as PgUp, PgDn, Home and End
< > s    sort by another column; 1 to 9 by that one, r the other way
/        show only rows that have a text
Space    look now, and for new namespaces too
p        pause, and go on
+ -      look less often, and more often
q        quit
`

// Columns tells what the numbers are, for the help of the command.
func Columns() string { return strings.TrimSpace(strings.Join(broken(aboutColumns, 80), "\n")) }

// helpRoom is how many lines of help fit on the screen.
func (m *model) helpRoom() int { return max(1, m.height-1) }

func (m *model) helpLines() []string { return broken(aboutKeys+aboutColumns, m.width) }

// broken breaks lines between words. What does not fit is set in by as much as the
// line is, and by the words at its beginning that it explains.
func broken(text string, width int) (lines []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if at := strings.LastIndex(line, gap) + len(gap); at > len(gap) {
			indent = at
		}
		for len(line) > width {
			at := strings.LastIndexByte(line[:width+1], ' ')
			if at <= indent {
				break
			}
			lines = append(lines, line[:at])
			line = strings.Repeat(" ", indent) + line[at+1:]
		}
		lines = append(lines, line)
	}
	return lines
}

// helpScreen is a part of the help.
func (m *model) helpScreen() []string {
	all, room := m.helpLines(), m.helpRoom()
	first := max(0, min(*m.help, len(all)-room))
	end := min(first+room, len(all))
	lines := make([]string, room, room+1)
	for i, line := range all[first:end] {
		lines[i] = m.cut(line)
	}
	foot := "any key goes back"
	if end < len(all) {
		foot = "Down for more, any other key goes back"
	}
	return append(lines, m.cut(foot))
}
