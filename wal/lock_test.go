package wal

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var heldDir = flag.String("wal.hold", "", "the directory that the process of TestHoldingChild has open")

// TestHoldingChild is a process that opens a storage, says how that went, and has it open until it reads a line.
func TestHoldingChild(t *testing.T) {
	if *heldDir == "" {
		t.Skip("it is run by other tests")
	}
	l, err := Open(*heldDir, Options{})
	if err != nil {
		fmt.Println("refused:", err)
		return
	}
	fmt.Println("open")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	require.NoError(t, l.Close())
	fmt.Println("closed")
}

// A holder is the process of TestHoldingChild.
type holder struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// hold starts a process that opens the storage, and returns it with the first line that it says.
func hold(t *testing.T, path string) (h *holder, says string) {
	t.Helper()
	h = &holder{Cmd: exec.Command(os.Args[0], "-test.run=^TestHoldingChild$", "-wal.hold="+path)}
	in, err := h.StdinPipe()
	require.NoError(t, err)
	out, err := h.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, h.Start())
	t.Cleanup(func() {
		if h.ProcessState == nil {
			_ = h.Process.Kill()
			_ = h.Wait()
		}
	})
	h.in, h.out = in, bufio.NewReader(out)
	return h, h.line(t)
}

func (h *holder) line(t *testing.T) string {
	t.Helper()
	line, err := h.out.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

// kill kills the process, as with kill -9.
func (h *holder) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, h.Process.Kill())
	require.Error(t, h.Wait())
}

// lockedBy returns why nobody else can open the storage now.
func lockedBy(t *testing.T, path string, o Options) *LockedError {
	t.Helper()
	_, err := Open(path, o)
	require.ErrorIs(t, err, ErrLocked)
	var by *LockedError
	require.ErrorAs(t, err, &by)
	return by
}

// The error of a second process says which the first one is. That its LOCK is removed lets nobody in.
func TestLockedByAnotherProcess(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, Create(path, 1, members))
	first, says := hold(t, path)
	require.Equal(t, "open", says)
	host, err := os.Hostname()
	require.NoError(t, err)
	resolved, err := filepath.EvalSymlinks(path)
	require.NoError(t, err)
	for _, o := range []Options{{}, {ReadOnly: true}} {
		by := lockedBy(t, path, o)
		require.Equal(t, LockedError{Dir: resolved, Process: first.Process.Pid, Host: host}, *by)
		require.ErrorContains(t, by, fmt.Sprintf("process %d on host %q has it open", first.Process.Pid, host))
	}
	err = Create(path, 1, members)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, "wal: create: ")
	_, says = hold(t, path)
	require.Contains(t, says, fmt.Sprintf("refused: wal: open: %s is locked: process %d", resolved, first.Process.Pid))

	text, err := os.ReadFile(filepath.Join(path, lockName))
	require.NoError(t, err)
	require.Contains(t, string(text), fmt.Sprintf("process %d\n", first.Process.Pid))
	require.Contains(t, string(text), "Never remove this file")
	if os.Remove(filepath.Join(path, lockName)) == nil { // windows does not remove it
		for _, o := range []Options{{}, {ReadOnly: true}} {
			require.Equal(t, LockedError{Dir: resolved}, *lockedBy(t, path, o), "who it is can't be known")
		}
		require.NoFileExists(t, filepath.Join(path, lockName), "who is refused makes no other")
		_, says = hold(t, path)
		require.Contains(t, says, "refused: ")
	}
	_, err = io.WriteString(first.in, "\n")
	require.NoError(t, err)
	require.Equal(t, "closed", first.line(t))
	l, err := Open(path, Options{})
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

// A process that was killed leaves its name in LOCK, and no lock. Nobody is misled by the name.
func TestLockOfKilledProcess(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, Create(path, 1, members))
	killed, says := hold(t, path)
	require.Equal(t, "open", says)
	killed.kill(t)
	text, err := os.ReadFile(filepath.Join(path, lockName))
	require.NoError(t, err)
	require.Contains(t, string(text), fmt.Sprintf("process %d\n", killed.Process.Pid))

	l, err := Open(path, Options{ReadOnly: true})
	require.NoError(t, err)
	by := lockedBy(t, path, Options{})
	require.True(t, by.Reading, "somebody reads: the name is of who wrote last")
	require.Zero(t, by.Process)
	require.ErrorContains(t, by, "a process has it open to read it")
	require.NoError(t, l.Close())

	l, err = Open(path, Options{})
	require.NoError(t, err)
	require.True(t, lockedBy(t, path, Options{}).Own)
	require.NoError(t, l.Close())
	text, err = os.ReadFile(filepath.Join(path, lockName))
	require.NoError(t, err)
	require.Contains(t, string(text), "process none\n")
}

// Whoever opens a storage twice in one process is told that it is itself, by whatever path.
func TestLockedByItself(t *testing.T) {
	path := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, Create(path, 1, members))
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	l, err := Open(link, Options{})
	require.NoError(t, err)
	for _, path := range []string{path, link} {
		for _, o := range []Options{{}, {ReadOnly: true}} {
			by := lockedBy(t, path, o)
			require.True(t, by.Own)
			require.Equal(t, os.Getpid(), by.Process)
			require.ErrorContains(t, by, "this very process has it open")
		}
		err := Create(path, 1, members)
		require.True(t, errors.Is(err, ErrLocked), "%v", err)
	}
	require.NoError(t, l.Save(batchOf(voted("a", 1, "v"))), "it goes on")
	require.NoError(t, l.Close())
}
