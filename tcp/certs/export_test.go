package certs

import (
	"os"
	"path/filepath"
)

// Renewer stands for whoever renews certificates, in the Example: it writes the files of server 1 to dir, and anew at each call.
func Renewer(dir string) (renew func()) {
	a := newAuthority("the authority", nil)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			panic(err)
		}
	}
	renew = func() {
		c := a.issue(1)
		write("ca.crt", pemOf(a))
		write("1.key", keyOf(c)) // does not fit 1.crt yet
		write("1.crt", pemOf(c))
	}
	renew()
	return renew
}
