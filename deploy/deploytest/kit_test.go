package deploytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// aWhile bounds everything that a test waits for.
const aWhile = time.Minute

// image is where the image has the program.
const image = "/cluster"

// built is the program, built once by the command in the Dockerfile.
var built struct {
	once      sync.Once
	dir, file string
	err       error
}

// program builds the program as the Dockerfile does, and returns its file.
func program(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		built.dir, built.err = os.MkdirTemp("", "paxos-deploy-test-")
		if built.err != nil {
			return
		}
		built.file = filepath.Join(built.dir, "cluster")
		var line string
		for _, i := range dockerfile(t) {
			if i.name == "RUN" && strings.Contains(i.rest, "go build") {
				line = strings.ReplaceAll(i.rest, "/out/cluster", built.file)
			}
		}
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = filepath.Join("..", "..")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%s: %w\n%s", line, err, out)
		}
	})
	require.NoError(t, built.err)
	return built.file
}

// A place is what one server sees: the files of its container or machine, below a directory of the test.
type place struct {
	t       *testing.T
	root    string
	id      int
	host    string // the name under which the others reach it
	api     string // a free address of this machine, in place of the one in its configuration
	listen  string
	process *exec.Cmd
	out     *bytes.Buffer
}

// given has the addresses that free has returned. The kernel may offer a closed port again.
var given sync.Map

// free returns an address of this machine on which nobody listens, and never the same one twice.
func free(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		addr := l.Addr().String()
		require.NoError(t, l.Close())
		if _, again := given.LoadOrStore(addr, true); !again {
			return addr
		}
	}
	require.Fail(t, "no address is free")
	return ""
}

func newPlace(t *testing.T, id int, host string) *place {
	p := &place{t: t, root: t.TempDir(), id: id, host: host, api: free(t), listen: free(t)}
	t.Cleanup(func() {
		if p.process != nil {
			p.process.Process.Kill()
			p.process.Wait()
		}
	})
	return p
}

// put writes a file at a path of the place.
func (p *place) put(path string, text []byte) {
	p.t.Helper()
	require.True(p.t, filepath.IsAbs(path), "%s", path)
	file := filepath.Join(p.root, path)
	require.NoError(p.t, os.MkdirAll(filepath.Dir(file), 0o700))
	require.NoError(p.t, os.WriteFile(file, text, 0o600))
}

// A told is what the tests read of a configuration. The program reads all of it.
type told struct {
	ID        int               `json:"id"`
	Acceptors []int             `json:"acceptors"`
	Learners  []int             `json:"learners"`
	Listen    string            `json:"listen"`
	Peers     map[string]string `json:"peers"`
	Dir       string            `json:"dir"`
	Cert      string            `json:"cert"`
	Key       string            `json:"key"`
	API       string            `json:"api"`
}

func read(t *testing.T, text []byte) (c told) {
	t.Helper()
	require.NoError(t, json.Unmarshal(text, &c), "%s", text)
	return c
}

// configure writes the configuration of the server at a path of the place, with all of its fields, for this machine: paths lead below
// the root, and the names of other servers become their addresses.
func (p *place) configure(path string, text []byte, all []*place) {
	p.t.Helper()
	c := read(p.t, text)
	require.Equal(p.t, p.id, c.ID)
	require.Equal(p.t, "127.0.0.1:8000", c.API, "probe and call ask this address by default")
	fields := map[string]any{}
	require.NoError(p.t, json.Unmarshal(text, &fields))
	for _, name := range []string{"ca", "cert", "key", "dir"} {
		require.True(p.t, filepath.IsAbs(fields[name].(string)), "%s", name)
		fields[name] = filepath.Join(p.root, fields[name].(string))
	}
	peers := map[string]string{}
	for id, addr := range c.Peers {
		for _, other := range all {
			if addr == other.host+c.Listen && id == fmt.Sprint(other.id) {
				peers[id] = other.listen
			}
		}
		require.NotEmpty(p.t, peers[id], "server %d reaches server %s at %s, where no server is", p.id, id, addr)
	}
	fields["peers"], fields["listen"], fields["api"] = peers, p.listen, p.api
	changed, err := json.Marshal(fields)
	require.NoError(p.t, err)
	p.put(path, changed)
}

// command prepares a command line of the place. Its paths lead below the root, and calls go to the API of the place.
func (p *place) command(args []string) *exec.Cmd {
	p.t.Helper()
	require.NotEmpty(p.t, args)
	var here []string
	for i, arg := range args {
		if strings.HasPrefix(arg, "/") {
			arg = filepath.Join(p.root, arg)
		}
		here = append(here, arg)
		if i == 0 && (arg == "probe" || arg == "call") {
			require.NotContains(p.t, args, "-api")
			here = append(here, "-api", p.api)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), aWhile)
	p.t.Cleanup(cancel)
	return exec.CommandContext(ctx, program(p.t), here...)
}

// run runs a command line to its end.
func (p *place) run(args ...string) (out string, status int) {
	p.t.Helper()
	text, err := p.command(args).CombinedOutput()
	var failed *exec.ExitError
	if err != nil {
		require.ErrorAs(p.t, err, &failed)
		status = failed.ExitCode()
	}
	require.NotEqual(p.t, 2, status, "the program does not know this command line: %s\n%s", args, text)
	return string(text), status
}

// start starts the server.
func (p *place) start(args []string) {
	p.t.Helper()
	p.process, p.out = p.command(args), &bytes.Buffer{}
	p.process.Stdout, p.process.Stderr = p.out, p.out
	require.NoError(p.t, p.process.Start())
}

// stop ends the server as a supervisor does.
func (p *place) stop() {
	p.t.Helper()
	require.NoError(p.t, p.process.Process.Signal(syscall.SIGTERM))
	err := p.process.Wait()
	require.NoError(p.t, err, "%s", p.out)
	p.process = nil
}

// becomes waits until a probe succeeds, or fails.
func (p *place) becomes(status int, probe []string) {
	p.t.Helper()
	late, look := time.After(aWhile), time.NewTicker(50*time.Millisecond)
	defer look.Stop()
	for {
		out, got := p.run(probe...)
		if got == status {
			return
		}
		select {
		case <-look.C:
		case <-late:
			require.Fail(p.t, "the probe does not become so", "server %d: %v: want status %d: %s\n%s", p.id, probe, status, out, p.out)
		}
	}
}

// certificates makes those of the servers, by the command on the page, and returns the directory.
func certificates(t *testing.T, ids ...string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command(program(t), append([]string{"certs", "-cluster", "lunch", "-dir", dir}, ids...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

// copyFile brings a file to a path of the place.
func (p *place) copyFile(file, path string) {
	p.t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(p.t, err)
	p.put(path, text)
}
