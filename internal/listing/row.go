//go:build linux

package listing

import (
	"io"
	"strconv"
	"time"

	"github.com/ipcns/ipcns/ipc"
)

// A row is one line of a table: cells with a space between them, each filled
// up with spaces to its width. A wider cell pushes the others to the right,
// as in ipcs. Numbers are appended without fmt, which would take most of the
// time of a long table.
type row struct {
	names *Names
	text  []byte
}

// end writes the row and begins the next.
func (r *row) end(w io.Writer) {
	r.text = append(r.text, '\n')
	w.Write(r.text)
	r.text = r.text[:0]
}

// begin ends the cell before the next one and returns where that starts.
func (r *row) begin() int {
	if len(r.text) > 0 {
		r.text = append(r.text, ' ')
	}
	return len(r.text)
}

func (r *row) fill(start, width int) {
	for len(r.text) < start+width {
		r.text = append(r.text, ' ')
	}
}

func (r *row) string(width int, text string) {
	start := r.begin()
	r.text = append(r.text, text...)
	r.fill(start, width)
}

func (r *row) int(width int, n int64) {
	start := r.begin()
	r.text = strconv.AppendInt(r.text, n, 10)
	r.fill(start, width)
}

func (r *row) uint(width int, n uint64) {
	start := r.begin()
	r.text = strconv.AppendUint(r.text, n, 10)
	r.fill(start, width)
}

// rightInt is an int at the right of its cell.
func (r *row) rightInt(width int, n int64) {
	digits := strconv.Itoa(int(n))
	r.fill(r.begin(), width-len(digits))
	r.text = append(r.text, digits...)
}

func (r *row) mode(mode uint32) {
	start := r.begin()
	r.text = strconv.AppendUint(r.text, uint64(mode), 8)
	r.fill(start, 10)
}

func (r *row) key(key ipc.Key) {
	const digits = "0123456789abcdef"
	r.begin()
	r.text = append(r.text, '0', 'x')
	for shift := 28; shift >= 0; shift -= 4 {
		r.text = append(r.text, digits[uint32(key)>>shift&0xf])
	}
}

// owner is the name of a user, cut to the width of its cell.
func (r *row) owner(uid uint32) {
	name := r.names.User(uid)
	r.string(10, name[:min(len(name), 10)])
}

// creators are the cells of the view Creators.
func (r *row) creators(id int, perm *ipc.Perm) {
	r.int(10, int64(id))
	r.mode(perm.Mode & 0o777)
	r.string(10, r.names.User(perm.CUID))
	r.string(10, r.names.group(perm.CGID))
	r.string(10, r.names.User(perm.UID))
	r.string(10, r.names.group(perm.GID))
}

// time is a time in the local time zone.
func (r *row) time(width int, layout string, seconds int64) {
	start := r.begin()
	r.text = appendTime(r.text, layout, seconds)
	r.fill(start, width)
}

func appendTime(text []byte, layout string, seconds int64) []byte {
	if seconds == 0 {
		return append(text, "Not set"...)
	}
	return time.Unix(seconds, 0).AppendFormat(text, layout)
}
