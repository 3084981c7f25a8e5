//go:build linux && !amd64

package inject

// codeRoles are those of targets that have machine code of their own.
var codeRoles map[string]func() error
