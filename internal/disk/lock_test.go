package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each lock file names the holder of the lock; nil: the file is no reliable source.
func TestReadHolder(t *testing.T) {
	host, err := os.Hostname()
	require.NoError(t, err)
	text := func(process any, host, key string) string {
		return fmt.Sprintf("paxos lock 1\nprocess %v\nhost %q\nkey %q\n", process, host, key) + lockAdvice
	}
	me := os.Getpid()
	cases := []struct {
		name, text string
		want       *LockedError
	}{
		{"this process", text(me, host, processKey()), &LockedError{Own: true, Process: me, Host: host}},
		{"another that lives", text(os.Getppid(), host, "K"), &LockedError{Process: os.Getppid(), Host: host}},
		{"another of the same id, in another container", text(me, host, "K"), &LockedError{Process: me, Host: host}},
		{"one of another host", text(1<<30, "elsewhere", "K"), &LockedError{Process: 1 << 30, Host: "elsewhere"}},
		{"nobody", lockFree + lockAdvice, nil},
		{"empty, as it was in earlier versions", "", nil},
		{"cut short", text(me, host, "K")[:40], nil},
		{"no process has that id", text(-1, host, "K"), nil},
		{"not a number", text("x", host, "K"), nil},
		{"too long", strings.Repeat("x", 1<<20), nil},
	}
	if gone(1 << 22) { // windows does not say
		cases = append(cases, struct {
			name, text string
			want       *LockedError
		}{"one that was killed", text(1<<22, host, "K"), nil})
	}
	for _, c := range cases {
		require.Equal(t, c.want, readHolder(strings.NewReader(c.text)), c.name)
	}
}

// A shared lock changes nothing: it makes no file, and leaves a file as it is.
func TestSharedLockChangesNothing(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	lock, err := d.Lock("LOCK", true)
	if err != nil {
		require.ErrorIs(t, err, ErrNoLock, "a platform that can't lock a directory")
	} else {
		_, err = d.Lock("LOCK", false)
		require.ErrorIs(t, err, ErrLocked)
		require.NoError(t, lock.Close())
	}
	names, err := d.List()
	require.NoError(t, err)
	require.Empty(t, names)

	require.NoError(t, os.WriteFile(filepath.Join(path, "LOCK"), []byte("text"), 0o400))
	for range 2 {
		lock, err := d.Lock("LOCK", true)
		require.NoError(t, err)
		defer lock.Close()
	}
	text, err := os.ReadFile(filepath.Join(path, "LOCK"))
	require.NoError(t, err)
	require.Equal(t, "text", string(text))
}
