package tutorial

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadmeServer builds the whole program of the README, and runs it as three servers, with addresses of this machine.
func TestReadmeServer(t *testing.T) {
	r := newReader(t)
	r.module()
	program := ""
	for _, block := range goBlocks(page(t, "README.md")) {
		if strings.HasPrefix(block, "package main\n") {
			require.Empty(t, program, "there is one")
			program = block
		}
	}
	for _, host := range []string{"one", "two", "three"} {
		require.Equal(t, 1, strings.Count(program, host+".example:7000"))
		program = strings.ReplaceAll(program, host+".example:7000", freeAddress(t))
	}
	r.write("main.go", program)
	r.run("go", "build", "-o", "lunch", ".")
	r.run("go", "run", modulePath+"/examples/cluster", "certs", "-cluster", "lunch", "-dir", "certs", "1", "2", "3")

	lunch := filepath.Join(r.dir, "lunch")
	var servers []*process
	for id := 1; id <= 3; id++ {
		home := fmt.Sprint("server", id)
		r.copies("certs", home, "ca.crt", fmt.Sprint(id, ".crt"), fmt.Sprint(id, ".key"))
		r.start(home, lunch, "-create", "-id", fmt.Sprint(id)).ends()
		servers = append(servers, r.start(home, lunch, "-id", fmt.Sprint(id)))
	}
	for _, s := range servers {
		s.says("burger with server ")
		s.says("\n")
	}
	for _, s := range servers {
		assert.Equal(t, servers[0].out.String(), s.out.String())
	}
	for _, s := range servers {
		s.interrupt()
	}
}
