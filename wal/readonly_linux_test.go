package wal

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Another user, to whom the files may be read and LOCK may not, can look at a storage, and is refused while a server has it open.
func TestReadOnlyAsAnotherUser(t *testing.T) {
	path, held := leftBehind(t)
	require.NoError(t, os.WriteFile(filepath.Join(path, lockName), []byte("text"), 0o600))
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	for above := path; above != "/" && above != os.TempDir(); above = filepath.Dir(above) {
		require.NoError(t, os.Chmod(above, 0o755))
	}
	for name := range contents(t, path) {
		if name != lockName {
			require.NoError(t, os.Chmod(filepath.Join(path, name), 0o444))
		}
	}
	before := traces(t, path)
	require.NoError(t, asNobody(func() error {
		if _, err := os.ReadFile(filepath.Join(path, lockName)); !os.IsPermission(err) {
			return fmt.Errorf("LOCK can be read: %v", err)
		}
		l, err := Open(path, Options{ReadOnly: true, least: 4 << 10})
		if err != nil {
			return err
		}
		defer l.Close()
		if err := held.differs(l); err != nil {
			return err
		}
		return l.Verify()
	}))
	require.Equal(t, before, traces(t, path))
	l, err := Open(path, Options{least: 4 << 10, inline: true})
	require.NoError(t, err)
	require.ErrorIs(t, asNobody(func() error {
		_, err := Open(path, Options{ReadOnly: true})
		return err
	}), ErrLocked)
	require.NoError(t, l.Close())
}

// asNobody calls f in a thread of its own, in which files are looked at with the rights of nobody.
func asNobody(f func() error) error {
	const nobody = 65534
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		if _, _, err := syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0); err != 0 {
			ended <- err
			return
		}
		ended <- f()
	}()
	return <-ended
}
