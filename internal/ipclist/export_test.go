//go:build linux

package ipclist

// List has room for so many namespaces.
func (k *Kernel) List(capacity int) ([]Namespace, int, error) { return k.list(capacity) }

// Offset returns the offset of a member of the kernel's own types.
func (k *Kernel) Offset(structure, path string) (int16, error) {
	return k.types.offset(structure, path)
}

// Lack makes the kernel one that lacks a member.
func (k *Kernel) Lack() { k.at("pid", "x") }

// OffsetIn returns the offset of a member in other types.
func OffsetIn(data []byte, structure, path string) (int16, error) {
	types, err := parseTypes(data, []string{structure})
	if err != nil {
		return 0, err
	}
	return types.offset(structure, path)
}
