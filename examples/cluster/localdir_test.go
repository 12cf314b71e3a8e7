package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// filesOf returns the files in dir and their content, without those of the storages and the logs.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, pattern := range []string{"*.json", "*.crt", "*.key", "created", pidFile} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		for _, name := range names {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			files[name] = string(text)
		}
	}
	return files
}

// TestSecondCluster: a second process on the directory of a running one is refused, and its error names that process. It has changed
// nothing: the first can restart its servers.
func TestSecondCluster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	cmd, _ := prepare(t, "-dir", dir)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer stdin.Close()
	out := newBook()
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	_, err = fmt.Fprintln(stdin, "propose a one")
	require.NoError(t, err)
	out.says(t, `a = "one"`)

	before := filesOf(t, dir)
	require.Len(t, before, 3+3+3+2+2, "configurations, certificates, keys, the authority's, marker and pid")
	for _, args := range [][]string{{"-dir", dir, "-c", "status"}, {"-dir", dir, "-n", "5", "-c", "status"}} {
		text, code := runs(t, "", args...)
		assert.Equal(t, 1, code, "%s", text)
		assert.Contains(t, text, fmt.Sprintf("another cluster runs in it: process %d", cmd.Process.Pid))
	}
	assert.Equal(t, before, filesOf(t, dir), "nothing of the first is touched")

	_, err = fmt.Fprintln(stdin, "kill 1; start 1; @1 propose b two")
	require.NoError(t, err)
	out.says(t, `b = "two"`)
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait(), "%s", out)
	text, code := runs(t, "", "-dir", dir, "-c", "read a")
	require.Zero(t, code, "%s", text)
	assert.Contains(t, text, `a = "one"`, "the directory is free again")
}

// TestFirstStartInterrupted: a first start that fails between two storages, or before the marker is written, can be repeated.
func TestFirstStartInterrupted(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "2", "x")
	require.NoError(t, os.MkdirAll(filepath.Dir(foreign), 0o700))
	require.NoError(t, os.WriteFile(foreign, nil, 0o600))
	out, code := runs(t, "", "-dir", dir, "-c", "status")
	assert.Equal(t, 1, code, "%s", out)
	assert.Contains(t, out, "it holds x")
	require.NoError(t, os.Remove(foreign))
	out, code = runs(t, "", "-dir", dir, "-n", "5", "-c", "status")
	assert.Equal(t, 1, code, "%s", out)
	assert.Regexp(t, `it is the storage of server 1 of cluster "local" under .*, not of server 1 of .*1,2,3,4,5`, out)
	out, code = runs(t, "", "-dir", dir, "-c", "propose lunch burger")
	require.Zero(t, code, "%s", out)
	assert.Contains(t, out, `lunch = "burger"`)
}

// TestCreatesOnce: a lost storage is not created again, whatever of the directory is lost with it. Servers that the directory was not
// created for are refused before anything is touched.
func TestCreatesOnce(t *testing.T) {
	dir := t.TempDir()
	out, code := runs(t, "", "-dir", dir, "-c", "propose lunch burger")
	require.Zero(t, code, "%s", out)
	before := filesOf(t, dir)
	delete(before, filepath.Join(dir, pidFile))
	out, code = runs(t, "", "-dir", dir, "-n", "5", "-c", "status")
	assert.Equal(t, 1, code, "%s", out)
	assert.Regexp(t, regexp.QuoteMeta(dir)+` was created for .*1,2,3.*, but -n 5 asks for .*1,2,3,4,5`, out)
	after := filesOf(t, dir)
	delete(after, filepath.Join(dir, pidFile))
	assert.Equal(t, before, after)

	require.NoError(t, os.Remove(filepath.Join(dir, "created")))
	out, code = runs(t, "", "-dir", dir, "-c", "read lunch")
	require.Zero(t, code, "the marker alone is made again: %s", out)
	assert.Contains(t, out, `lunch = "burger"`)
	require.NoError(t, os.Remove(filepath.Join(dir, "created")))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "2")))
	out, code = runs(t, "", "-dir", dir, "-c", "propose lunch pizza")
	assert.Equal(t, 1, code, "%s", out)
	assert.Contains(t, out, "the storage of server 2 is missing: it is lost")
	assert.NoDirExists(t, filepath.Join(dir, "2"))
}

// TestPortIsTaken: a port that was free when it was chosen, and is taken when its server starts, is given up for another one.
func TestPortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	asked := 0
	out := &strings.Builder{}
	l := &local{dir: t.TempDir(), program: program(t), addrs: map[paxos.ServerID]string{}, out: &printer{w: out}}
	l.free = func(others map[paxos.ServerID]string) (string, error) {
		if asked++; asked == 2 {
			return taken.Addr().String(), nil
		}
		return freeAddr(others)
	}
	require.NoError(t, l.open(3))
	for _, c := range l.children {
		state, _ := c.now()
		assert.Equal(t, "up", state, "server %d", c.id)
	}
	assert.Empty(t, out.String(), "nobody need hear of it")
	assert.Equal(t, 6, asked)
	require.NoError(t, l.stop())
}
