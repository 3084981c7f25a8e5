//go:build linux

package top

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ipcns/ipcns/host"
	"github.com/ipcns/ipcns/internal/listing"
	"github.com/ipcns/ipcns/internal/survey"
	"github.com/ipcns/ipcns/registry"
)

// A Report is one look to be printed: at all namespaces, or at one.
type Report struct {
	look      *Look
	namespace *survey.Namespace // nil for all
	history   history
}

// Once takes a look at all namespaces, or at the one with that key. If there is an
// interval, it takes a second look when that has passed, and compares them.
func Once(ctx context.Context, names *registry.Registry, namespace string, interval time.Duration) (*Report, error) {
	l, r := looker{names: names}, &Report{history: history{}}
	looks := 1
	if interval > 0 {
		looks = 2
	}
	for i := range looks {
		if i > 0 {
			select {
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(interval):
			}
		}
		look, err := l.look(question{namespace: namespace, objects: namespace != "", processes: namespace != "", search: true})
		if err != nil {
			return nil, err
		}
		r.look = look
		r.history.add(look.Survey)
	}
	if namespace == "" {
		return r, nil
	}
	if r.namespace = r.look.find(namespace); r.namespace == nil {
		return nil, fmt.Errorf("cannot look at %s: it is gone, or this user may not see it", namespace)
	}
	return r, nil
}

// Survey is what the report is made from.
func (r *Report) Survey() *survey.Survey { return r.look.Survey }

// Write prints tables, of lines of no more than width columns unless that is 0.
func (r *Report) Write(w io.Writer, users listing.Names, width int) error {
	if r.namespace == nil {
		s := namespacesSheet(r.look, r.history, &users)
		s.sort(columnQueued, false)
		return s.write(w, width)
	}
	s := objectsSheet(r.namespace, r.history[keyOf(r.namespace)], r.look.Taken, &users)
	if err := s.write(w, width); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	s = processesSheet(r.look, r.namespace, "", &users)
	return s.write(w, width)
}

func (s *sheet) write(w io.Writer, width int) error {
	l := s.fit(width)
	var b strings.Builder
	b.WriteString(cut(s.heading(l), width) + "\n")
	for _, r := range s.rows {
		b.WriteString(cut(s.text(l, r), width) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// The JSON of a report. What is not known is null.
type (
	namespacesDocument struct {
		Taken      time.Time       `json:"taken"`
		Unseen     int             `json:"unseen_processes"`
		Missing    []string        `json:"missing"`
		Namespaces []namespaceLook `json:"namespaces"`
	}
	namespaceLook struct {
		Name      *string `json:"name"`
		Inode     uint64  `json:"inode"`
		Engine    string  `json:"engine"`
		State     string  `json:"state"`
		OwnerUID  *uint32 `json:"owner_uid"`
		Processes *int    `json:"processes"`
		survey.Counts
		Queued    *int64   `json:"queued"`
		PerSecond *float64 `json:"change_per_second"`
		Used      *int     `json:"used"`
	}
	objectsDocument struct {
		Taken     time.Time      `json:"taken"`
		Unseen    int            `json:"unseen_processes"`
		Missing   []string       `json:"missing"`
		Name      *string        `json:"name"`
		Inode     uint64         `json:"inode"`
		Objects   []objectLook   `json:"objects"` // null if they cannot be seen
		Processes []host.Process `json:"processes"`
	}
	objectLook struct {
		Object    string   `json:"object"`
		Queued    *int64   `json:"queued"`
		PerSecond *float64 `json:"change_per_second"`
		Used      *bool    `json:"used"`
	}
)

// WriteJSON prints the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	if r.namespace != nil {
		return listing.WriteJSON(w, objectsDocument{r.look.Taken, r.look.Unseen, r.missing(), r.namespace.Name, r.namespace.Inode, r.objects(), r.namespace.Processes})
	}
	d := namespacesDocument{r.look.Taken, r.look.Unseen, r.missing(), []namespaceLook{}}
	for _, ns := range r.look.Namespaces {
		n := namespaceLook{Name: ns.Name, Inode: ns.Inode, Engine: ns.Engine, State: string(ns.State), OwnerUID: ns.Owner, Counts: ns.Counts}
		if !ns.Hidden {
			members := len(ns.Members)
			n.Processes = &members
		}
		if p := r.history[keyOf(ns)]; p != nil {
			n.Queued, n.PerSecond, n.Used = &p.queued, p.rate, p.used
		}
		d.Namespaces = append(d.Namespaces, n)
	}
	return listing.WriteJSON(w, d)
}

// missing is an empty list in JSON if there is nothing.
func (r *Report) missing() []string { return append([]string{}, r.look.Missing...) }

func (r *Report) objects() []objectLook {
	if r.namespace.Contents == nil {
		return nil
	}
	past, objects := r.history[keyOf(r.namespace)], []objectLook{}
	s := objectsSheet(r.namespace, past, r.look.Taken, &listing.Names{})
	for _, row := range s.rows {
		t := past.objects[row.key]
		o := objectLook{Object: row.key, PerSecond: t.rate}
		if !row.cells[columnObjectQueued].unknown {
			o.Queued = t.trace.level
		}
		if t.looks > 0 {
			used := t.used&1 == 1
			o.Used = &used
		}
		objects = append(objects, o)
	}
	return objects
}
