package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// TestSession is a session of real processes. A decision outlives the death of its proposer. A minority may be dead or paused. While a
// majority is paused, nothing is decided. A server that comes back learns the decisions that it missed.
func TestSession(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("windows can't pause a process")
	}
	const forgotten = `server 1 learned: all names from "job/" to below "job0" are forgotten`
	script, rest := `
		propose lunch burger
		kill 1                      # who proposed it
		! @1 read lunch
		@2 propose lunch pizza
		pause 3
		status
		! @2 propose dinner "rice; and beans"
		resume 3
		wait dinner                 # the others finish what could not be decided
		start 1
		@1 wait lunch
		@1 propose dinner soup
		watch
		@1 peek lunch; @3 propose snack ''; @1 wait snack
		watch off
		read nothing
		propose job/1 done
		watch; forget job/
	`, `
		! @1 read job/1             # for ever
		! propose job/2 again
		@2 wait lunch; watch off
		status
		quit
		not reached
	`
	out, code := runsWith(t, func(out *book) io.Reader {
		return io.MultiReader(strings.NewReader(script), &after{out, forgotten, strings.NewReader(rest)})
	}, "-timeout", "3s")
	require.Zero(t, code, "%s", out)
	want := []string{
		"3 servers on 127.0.0.1, with what they know in ", "up: 1 2 3", "a page to look at: http://127.0.0.1:",
		`> propose lunch burger`, `server 1: lunch = "burger", in ballot `,
		`> kill 1`, "up: 2 3  down: 1",
		`> ! @1 read lunch`, "it failed: server 1 is down",
		`> @2 propose lunch pizza`, `server 2: lunch = "burger", in ballot `,
		`> pause 3`, "up: 2  paused: 3  down: 1",
		`> status`, "server 1  down", "server 2  up  boot 1  ", "server 3  paused",
		`> ! @2 propose dinner "rice; and beans"`, `1 of 3 acceptors answered, majority(3) needs 2 (silent: 1, 3)`, `("rice; and beans" may be chosen all the same)`,
		`> resume 3`, "up: 2 3  down: 1",
		`> wait dinner`, `server 2: dinner = "rice; and beans"`,
		`> start 1`, "up: 1 2 3",
		`> @1 wait lunch`, `server 1: lunch = "burger"`,
		`> @1 propose dinner soup`, `server 1: dinner = "rice; and beans"`,
		`> watch`, "watching server 1",
		`> @1 peek lunch`, `server 1: lunch = "burger"`,
		`> @3 propose snack ''`, `server 3: snack = ""`,
		`> @1 wait snack`, `server 1: snack = ""`,
		`> watch off`,
		`> read nothing`, "server 1: nothing: nothing is decided",
		`> forget job/`, `server 1: a quorum has forgotten all names that begin with "job/"`,
		`> ! @1 read job/1`, `it failed: server 1: paxos: read "job/1": instance is forgotten: all names from "job/" to below "job0" are`,
		`> ! propose job/2 again`, `it failed: server 1: paxos: propose "job/2": instance is forgotten`,
		`> @2 wait lunch`, `server 2: lunch = "burger"`,
		`> status`, "server 1  up  boot 2  ", "server 2  up  boot 1  ", "server 3  up  boot 1  ", `> quit`,
	}
	left := out
	for _, w := range want {
		_, after, found := strings.Cut(left, w)
		require.True(t, found, "%q is missing, or too early:\n%s", w, out)
		left = after
	}
	assert.Contains(t, out, forgotten)
}

// TestKept: with -dir, what was decided is there in the next run. A storage that is gone is not made again, and the others go on without it.
// If all are gone, there is no cluster.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	out, code := runs(t, "", "-dir", dir, "-c", "propose lunch burger")
	require.Zero(t, code, "%s", out)
	out, code = runs(t, "", "-dir", dir, "-c", "propose lunch pizza")
	require.Zero(t, code, "%s", out)
	assert.Contains(t, out, `lunch = "burger"`)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "2")))
	out, code = runs(t, "", "-dir", dir, "-c", "propose lunch pizza")
	require.Zero(t, code, "%s", out)
	assert.Contains(t, out, "server 2 does not start")
	assert.Contains(t, out, "its storage is lost")
	assert.Contains(t, out, "up: 1 3  down: 2")
	assert.Contains(t, out, `lunch = "burger"`)
	assert.NoDirExists(t, filepath.Join(dir, "2"))
	for _, name := range []string{"1", "3"} {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, name)))
	}
	out, code = runs(t, "", "-dir", dir, "-c", "status")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "server 3 does not start")
}

// TestFailures: a failure is reported, and shows in the status of the process.
func TestFailures(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"argument":           {[]string{"lunch"}, 2, `unexpected argument "lunch"`},
		"flag":               {[]string{"-x"}, 2, "flag provided but not defined"},
		"none":               {[]string{"-n", "0"}, 2, "-n: 0: want 1 to 9"},
		"serve":              {[]string{"serve"}, 2, "serve: want -config FILE"},
		"create":             {[]string{"create"}, 2, "create: want -config FILE"},
		"certs":              {[]string{"certs", "1"}, 2, "certs: -cluster is missing"},
		"certs of nobody":    {[]string{"certs", "-cluster", "x"}, 2, "certs: no ID"},
		"certs of zero":      {[]string{"certs", "-cluster", "x", "0"}, 2, `certs: "0" is not the ID`},
		"call":               {[]string{"call"}, 2, "call: want the commands as one argument"},
		"nobody to call":     {[]string{"call", "-api", "127.0.0.1:1", "read lunch"}, 1, "no answer from http://127.0.0.1:1/v1"},
		"a command fails":    {[]string{"-n", "1", "-c", "@2 read lunch; read lunch"}, 1, "line 1: @2 read lunch: there is no server 2"},
		"a command does not": {[]string{"-n", "1", "-c", "! read lunch; read lunch"}, 1, "line 1: ! read lunch: it did not fail"},
		"no such command":    {[]string{"-n", "1", "-c", "read lunch\neat lunch"}, 1, `line 2: there is no command "eat"`},
		"reserved name":      {[]string{"-n", "1", "-c", "propose $x y"}, 1, "begins with $"},
		"no file":            {[]string{"serve", "-config", "none.json"}, 1, "none.json"},
	} {
		t.Run(name, func(t *testing.T) {
			out, code := runs(t, "", test.args...)
			assert.Equal(t, test.code, code, "%s", out)
			assert.Contains(t, out, test.want)
		})
	}
}

// TestInterrupted: Ctrl-C ends everything, and so does the death of the process itself, although one of its children
// is paused.
func TestInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process can't send an interrupt to another there")
	}
	for name, signal := range map[string]os.Signal{"interrupted": os.Interrupt, "killed": os.Kill} {
		t.Run(name, func(t *testing.T) {
			cmd, temp := prepare(t)
			stdin, err := cmd.StdinPipe()
			require.NoError(t, err)
			defer stdin.Close()
			out := newBook()
			cmd.Stdout, cmd.Stderr = out, out
			require.NoError(t, cmd.Start())
			_, err = stdin.Write([]byte("propose lunch burger; watch\npause 2\n"))
			require.NoError(t, err)
			out.says(t, "up: 1 3  paused: 2")
			children := regexp.MustCompile(`in (\S+)\n`).FindStringSubmatch(out.String())
			require.Len(t, children, 2, "%s", out)
			var addrs []string
			for id := range 3 {
				c, err := readConfig(filepath.Join(children[1], fmt.Sprintf("%d.json", id+1)))
				require.NoError(t, err)
				addrs = append(addrs, c.Listen)
			}
			require.NoError(t, cmd.Process.Signal(signal))
			cmd.Wait()
			for id, addr := range addrs {
				if id == 1 && runtime.GOOS != "linux" && signal == os.Kill {
					continue // paused: it notices when it goes on
				}
				require.Eventually(t, func() bool { return isFree(addr) }, aWhile, 10*time.Millisecond, "server %d lives", id+1)
			}
			if name == "interrupted" {
				assert.Equal(t, 130, cmd.ProcessState.ExitCode(), "%s", out)
				left, err := os.ReadDir(temp)
				require.NoError(t, err)
				assert.Empty(t, left)
			}
		})
	}
}

// isFree reports whether nobody listens there, not even a process that is paused.
func isFree(addr string) bool {
	l, err := net.Listen("tcp", addr)
	return err == nil && l.Close() == nil
}

// TestRemote is what the README shows: certificates, configurations, create, serve and call, for three servers; then their
// certificates are renewed while they run.
func TestRemote(t *testing.T) {
	dir := t.TempDir()
	out, code := runs(t, "", "certs", "-cluster", "lunch", "-dir", filepath.Join(dir, "certs"), "1", "2", "3")
	require.Zero(t, code, "%s", out)
	assert.Contains(t, out, "paxos:lunch/3")
	configs, err := localConfigs(3)
	require.NoError(t, err)
	apis := map[paxos.ServerID]string{}
	books := map[paxos.ServerID]*book{}
	for _, c := range configs {
		c.Cluster = "lunch"
		c.CA, c.Cert, c.Key = filepath.Join("certs", c.CA), filepath.Join("certs", c.Cert), filepath.Join("certs", c.Key)
		file := filepath.Join(dir, fmt.Sprintf("%d.json", c.ID))
		require.NoError(t, c.write(file))
		out, code := runs(t, "", "serve", "-config", file)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "there is no storage here", "serve creates nothing")
		out, code = runs(t, "", "create", "-config", file)
		require.Zero(t, code, "%s", out)
		out, code = runs(t, "", "create", "-config", file)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "already", "it is created once")

		cmd, _ := prepare(t, "serve", "-config", file)
		stdout, log := newBook(), newBook()
		cmd.Stdout, cmd.Stderr = stdout, log
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		stdout.says(t, "\n")
		var s serving
		require.NoError(t, json.Unmarshal([]byte(stdout.String()), &s))
		apis[c.ID], books[c.ID] = s.API, log
	}
	out, code = runs(t, "", "call", "-api", apis[1], "propose lunch burger; wait lunch; status")
	require.Zero(t, code, "%s", out)
	out, code = runs(t, "", "call", "-api", apis[3], "propose lunch pizza")
	require.Zero(t, code, "%s", out)
	assert.Contains(t, out, `server 3: lunch = "burger"`)
	out, code = runs(t, "", "call", "-api", apis[3], "@1 read lunch")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "is that of server 3")

	out, code = runs(t, "", "certs", "-cluster", "lunch", "-dir", filepath.Join(dir, "certs"), "-renew", "1", "2")
	require.Zero(t, code, "%s", out)
	assert.NotContains(t, out, "authority", "it is kept")
	books[1].says(t, "certificates renewed")
	books[2].says(t, "certificates renewed")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "certs", "3.crt"), []byte("garbage"), 0o600))
	books[3].says(t, "certificates not renewed")
	out, code = runs(t, "", "call", "-api", apis[2], "propose dinner soup")
	require.Zero(t, code, "%s", out)
	out, code = runs(t, "", "call", "-api", apis[3], "wait dinner")
	require.Zero(t, code, "%s", out)
}
