//go:build linux

package differential

import "testing"

// found are programs that have shown a difference, as random ones shrank to.
var found = []struct{ name, program string }{
	{"SEM_UNDO puts a set on the list of the process also if semop fails", `
		0 semget 1 1 0o1600
		0 semop 0 -1 0 1 1 0o10000
	`},
	{"SETVAL looks at the sign of the id, then at the value, then at the rest of the id", `
		0 setval 100 0 32768
		0 setval 104 0 32768
		0 setval 106 0 32768
	`},
	{"SETALL looks at how many values there are before it looks at permissions", `
		0 semget 1 2 0o1600
		1 setall 0 0
		1 setall 0 0 0
	`},
	{"queues_max below 0 is a limit that nothing reaches", `
		0 limit 11 4
		1 mqopen 0 0o100 0o644 1 1
	`},
	{"who waits for zeros is tried again only when a semaphore has become 0", `
		0 semget 1 2 0o1666
		0 semop 0 -1 0 0 2 0 1 0 0
		1 semop 0 -1 0 1 0 0 0 0 0 0 0 0
		2 semop 0 -1 0 1 1 0o4000 0 1 0
	`},
}

func TestFound(t *testing.T) {
	of := kernelAlike(t)
	for _, f := range found {
		t.Run(f.name, func(t *testing.T) {
			if _, err := of.try(t, programOf(t, f.program)); err != nil {
				t.Fatal(err)
			}
		})
	}
}
