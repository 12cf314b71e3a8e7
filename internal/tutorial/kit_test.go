package tutorial

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	modulePath = "github.com/singledecree/paxos"
	aWhile     = time.Minute // nothing here takes that long, but for a machine that is busy
)

// A reader does what a page says, in a folder of its own. Other modules come from the cache of this machine.
type reader struct {
	t   *testing.T
	dir string
	env []string
}

func newReader(t *testing.T) *reader {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("processes are interrupted by signals")
	}
	if testing.Short() {
		t.Skip("it builds programs")
	}
	return &reader{t, t.TempDir(), append(os.Environ(), "GOFLAGS=-buildvcs=false -ldflags=-w", "GOWORK=off", "GONOSUMDB=*")}
}

// module makes an empty module that has the tree in place of a version.
func (r *reader) module() {
	r.t.Helper()
	r.run("go", "mod", "init", "example.com/lunch")
	r.run("go", "mod", "edit", "-replace="+modulePath+"="+root(r.t))
	r.run("go", "get", modulePath+"@v0.0.0")
}

// root returns the folder of the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	return dir
}

// write writes a file of the module.
func (r *reader) write(name, text string) {
	r.t.Helper()
	file := filepath.Join(r.dir, filepath.FromSlash(name))
	require.NoError(r.t, os.MkdirAll(filepath.Dir(file), 0o700))
	require.NoError(r.t, os.WriteFile(file, []byte(text), 0o600))
}

// copies copies files of one folder to another.
func (r *reader) copies(from, to string, names ...string) {
	r.t.Helper()
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(r.dir, from, name))
		require.NoError(r.t, err)
		r.write(to+"/"+name, string(text))
	}
}

// run runs a program in the module, and returns what it printed to its standard output.
func (r *reader) run(program string, args ...string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*aWhile)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = r.dir, r.env
	var out, wrong bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &wrong
	require.NoError(r.t, cmd.Run(), "%s %s\n%s%s", program, strings.Join(args, " "), &out, &wrong)
	return out.String()
}

// A process is a program that runs beside the test, until it is ended.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   book
	ended chan struct{} // closed when it has ended, with err
	err   error
}

// start starts a program in a folder of the module.
func (r *reader) start(folder, program string, args ...string) *process {
	r.t.Helper()
	p := &process{t: r.t, cmd: exec.Command(program, args...), out: book{grown: make(chan struct{}, 1)}, ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = filepath.Join(r.dir, folder), &p.out, &p.out
	require.NoError(r.t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	r.t.Cleanup(p.kill)
	return p
}

// kill ends the process without notice.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// ends waits until the process has ended in order.
func (p *process) ends() {
	p.t.Helper()
	select {
	case <-p.ended:
		require.NoError(p.t, p.err, "%s", &p.out)
	case <-time.After(aWhile):
		require.FailNow(p.t, "it does not end", "%s", &p.out)
	}
}

// interrupt ends the process as Ctrl-C does.
func (p *process) interrupt() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(os.Interrupt), "%s", &p.out)
	p.ends()
}

// says waits until the process has printed a text.
func (p *process) says(text string) {
	p.t.Helper()
	timeout := time.After(aWhile)
	for !strings.Contains(p.out.String(), text) {
		select {
		case <-p.out.grown:
		case <-p.ended:
			require.Contains(p.t, p.out.String(), text, "it has ended: %v", p.err)
		case <-timeout:
			require.FailNow(p.t, "it does not say it", "%q is not in\n%s", text, &p.out)
		}
	}
}

// A book keeps what is written to it.
type book struct {
	mu    sync.Mutex
	text  strings.Builder
	grown chan struct{}
}

func (b *book) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.grown <- struct{}{}:
	default:
	}
	return b.text.Write(text)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// freeAddress returns an address of this machine where nobody listens, and that systems do not give to those who dial.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		if l, err := net.Listen("tcp", address); err == nil {
			require.NoError(t, l.Close())
			return address
		}
	}
	require.FailNow(t, "no port is free")
	return ""
}

// page returns a page of the repository.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(text)
}

// goBlocks returns the Go listings of a page.
func goBlocks(text string) (blocks []string) {
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, block[1])
	}
	return blocks
}
