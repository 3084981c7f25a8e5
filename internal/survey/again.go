//go:build linux

package survey

import "time"

// Again looks again into the namespaces that are chosen, without a search for
// others or for processes: what was found of the rest stays, and so does who is in
// them. The survey itself is not changed.
func (s *Survey) Again(options Options, chosen func(*Namespace) bool) (*Survey, error) {
	looked := &Survey{}
	anew := map[*Namespace]*Namespace{} // by what was known
	for _, ns := range s.Namespaces {
		if chosen(ns) {
			known := *ns
			anew[ns] = &known
			looked.Namespaces = append(looked.Namespaces, &known)
		}
	}
	again := *s
	again.Taken, again.Namespaces = time.Now(), nil
	if err := looked.fill(options); err != nil {
		return nil, err
	}
	there := map[*Namespace]bool{}
	for _, ns := range looked.Namespaces {
		there[ns] = true
	}
	for _, ns := range s.Namespaces {
		if now := anew[ns]; now == nil {
			again.Namespaces = append(again.Namespaces, ns)
		} else if there[now] {
			again.Namespaces = append(again.Namespaces, now)
		}
	}
	return &again, nil
}
