package disk

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// Of prctl(2) and seccomp(2).
const (
	prSetNoNewPrivs = 38
	prSetSeccomp    = 22
	seccompFilter   = 2
	retErrno        = 0x00050000
	retAllow        = 0x7fff0000
)

// refuse has a system call fail with that error, in the calling thread, until the thread ends.
func refuse(call uintptr, why syscall.Errno) error {
	filter := []syscall.SockFilter{
		{Code: 0x20},                            // load the number of the call
		{Code: 0x15, K: uint32(call), Jf: 1},    // is it this one?
		{Code: 0x06, K: retErrno | uint32(why)}, // then it fails
		{Code: 0x06, K: retAllow},
	}
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, err := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); err != 0 {
		return err
	}
	if _, _, err := syscall.RawSyscall(syscall.SYS_PRCTL, prSetSeccomp, seccompFilter, uintptr(unsafe.Pointer(&program))); err != 0 {
		return err
	}
	runtime.KeepAlive(filter)
	return nil
}

// refused calls f in a thread of its own, in which the system call fails.
func refused(t *testing.T, call uintptr, why syscall.Errno, f func() error) error {
	t.Helper()
	ended, skip := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		if err := refuse(call, why); err != nil {
			skip <- err
			return
		}
		ended <- f()
	}()
	select {
	case err := <-skip:
		t.Skipf("no system call can be refused here: %v", err)
		return nil
	case err := <-ended:
		return err
	}
}

// sync_file_range is advice: whatever it says, as in a sandbox that forbids it, Sync decides.
func TestAdviceIsRefused(t *testing.T) {
	for _, why := range []syscall.Errno{syscall.ENOSYS, syscall.EPERM, syscall.EINVAL, syscall.EOPNOTSUPP, syscall.EBADF, syscall.EIO} {
		d := openDir(t, t.TempDir())
		err := refused(t, syscall.SYS_SYNC_FILE_RANGE, why, func() error {
			if err := syscall.SyncFileRange(0, 0, 0, 0); err != why {
				return fmt.Errorf("sync_file_range is not refused: %v", err)
			}
			f, err := d.Create("file")
			if err != nil {
				return err
			}
			defer f.Close()
			for at := int64(0); at < 10_000; at += 1000 {
				if _, err := f.WriteAt(make([]byte, 1000), at); err != nil {
					return err
				}
				f.Start(at, 1000)
				f.Await(max(at-1000, 0), min(at, 1000))
			}
			return f.Sync()
		})
		require.NoError(t, err, why)
	}
}

// A Sync that fails is told, whatever was advised before.
func TestSyncIsRefused(t *testing.T) {
	d := openDir(t, t.TempDir())
	err := refused(t, syscall.SYS_FDATASYNC, syscall.EIO, func() error {
		f, err := d.Create("file")
		if err != nil {
			return err
		}
		defer f.Close()
		f.Start(0, 1)
		f.Await(0, 1)
		return f.Sync()
	})
	require.ErrorIs(t, err, syscall.EIO)
}

// A file system that can't sync a directory is told in words.
func TestDirSyncIsNotOffered(t *testing.T) {
	for _, why := range []syscall.Errno{syscall.EINVAL, syscall.ENOTSUP} {
		d := openDir(t, t.TempDir())
		err := refused(t, syscall.SYS_FSYNC, why, d.Sync)
		require.ErrorIs(t, err, why)
		require.ErrorContains(t, err, "this file system can't make names durable")
		require.ErrorContains(t, err, d.Path())
	}
}
