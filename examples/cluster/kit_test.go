package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		parallel.Value.Set("12") // most of these tests wait, for other processes and for times to pass
	}
	code := 0
	if code = m.Run(); code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// built is this program, for all tests that run it.
var built struct {
	once sync.Once
	dir  string
	file string
	err  error
}

// program builds the program, with the race detector if the test has it, and returns the file.
func program(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "paxos-cluster-test-"); built.err == nil {
			built.file, built.err = build(filepath.Join(built.dir, "cluster"))
		}
	})
	require.NoError(t, built.err)
	return built.file
}

func build(file string, flags ...string) (string, error) {
	if runtime.GOOS == "windows" {
		file += ".exe"
	}
	args := append([]string{"build", "-o", file}, flags...)
	if raceDetector {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, ".")...).CombinedOutput()
	if err != nil {
		err = &buildError{string(out), err}
	}
	return file, err
}

type buildError struct {
	out string
	err error
}

func (e *buildError) Error() string { return e.err.Error() + "\n" + e.out }

// aWhile bounds everything that a test waits for.
const aWhile = time.Minute

// prepare prepares the program to be run, with temporary files in a directory of the test; it is killed if it takes too long.
func prepare(t *testing.T, args ...string) (*exec.Cmd, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), aWhile)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program(t), args...)
	temp := t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, "TEMP="+temp, "TMP="+temp)
	cmd.WaitDelay = time.Second
	return cmd, temp
}

// runs runs the program to its end, with that input.
func runs(t *testing.T, input string, args ...string) (out string, code int) {
	t.Helper()
	return runsWith(t, func(*book) io.Reader { return strings.NewReader(input) }, args...)
}

// runsWith is like runs. The input may depend on what the program prints.
func runsWith(t *testing.T, input func(*book) io.Reader, args ...string) (out string, code int) {
	t.Helper()
	cmd, temp := prepare(t, args...)
	text := newBook()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input(text), text, text
	err := cmd.Run()
	if _, failed := err.(*exec.ExitError); !failed {
		require.NoError(t, err, "%s", text)
	}
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left, "it cleans up after itself: %s", text)
	return text.String(), cmd.ProcessState.ExitCode()
}

// after is an input that begins when the program has printed said.
type after struct {
	out  *book
	said string
	io.Reader
}

func (a *after) Read(b []byte) (int, error) {
	for late := time.NewTimer(aWhile); a.said != "" && !strings.Contains(a.out.String(), a.said); {
		select {
		case <-a.out.wrote:
		case <-late.C:
			return 0, fmt.Errorf("it does not say %q", a.said)
		}
	}
	a.said = ""
	return a.Reader.Read(b)
}

// A book keeps what a process prints, and lets a test wait for it.
type book struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wrote chan struct{}
}

func newBook() *book { return &book{wrote: make(chan struct{}, 1)} }

func (b *book) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.wrote <- struct{}{}:
	default:
	}
	return b.text.Write(text)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// says waits until the text has been printed.
func (b *book) says(t *testing.T, text string) {
	t.Helper()
	late := time.NewTimer(aWhile)
	defer late.Stop()
	for !strings.Contains(b.String(), text) {
		select {
		case <-b.wrote:
		case <-late.C:
			require.Fail(t, "it does not say it", "%q\n%s", text, b)
		}
	}
}

// sabotaged builds the program with a broken storage, and returns the file. testdata/NAME.go.txt is one more file of the program. Of each
// pair of texts the second replaces the first in serve.go.
func sabotaged(t *testing.T, name string, changes ...string) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile("serve.go")
	require.NoError(t, err)
	source := string(text)
	for i := 0; i < len(changes); i += 2 {
		require.Equal(t, 1, strings.Count(source, changes[i]), "the sabotage still fits the code: %s", changes[i])
		source = strings.Replace(source, changes[i], changes[i+1], 1)
	}
	serve := filepath.Join(dir, "serve.go")
	require.NoError(t, os.WriteFile(serve, []byte(source), 0o600))
	here, err := os.Getwd()
	require.NoError(t, err)
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(here, "serve.go"): serve,
		filepath.Join(here, name+".go"): filepath.Join(here, "testdata", name+".go.txt"),
	}})
	require.NoError(t, err)
	file := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(file, overlay, 0o600))
	built, err := build(filepath.Join(dir, "sabotaged"), "-overlay", file)
	require.NoError(t, err)
	return built
}
