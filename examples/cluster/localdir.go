package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/wal"
)

// errInUse says that another process has locked a directory.
var errInUse = errors.New("another cluster runs in it")

// pidFile says, in the directory of a local cluster, which process runs it. It is for people; the lock decides.
const pidFile = "pid"

// holdDir makes the directory of a local cluster if need be, and keeps other processes out of it until it is closed. If another is in
// it, nothing is touched.
func holdDir(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	switch {
	case errors.Is(err, errInUse):
		if pid, err := os.ReadFile(filepath.Join(dir, pidFile)); err == nil {
			return nil, fmt.Errorf("%s: %w: process %s", dir, errInUse, strings.TrimSpace(string(pid)))
		}
		return nil, fmt.Errorf("%s: %w", dir, err)
	case err != nil:
		return nil, fmt.Errorf("%s: it can't be locked: %w", dir, err)
	}
	if err := replaceFile(filepath.Join(dir, pidFile), []byte(strconv.Itoa(os.Getpid())+"\n")); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// createOnce creates the storages of all servers, unless that was done before, which a marker tells. No server starts before the
// marker is written. So a creation that was interrupted is gone on with, as long as no storage was ever started from.
func createOnce(dir string, configs []config) error {
	marker, members := filepath.Join(dir, "created"), configs[0].members().String()
	switch text, err := os.ReadFile(marker); {
	case err == nil && strings.TrimSpace(string(text)) != members:
		return fmt.Errorf("%s was created for %s, but -n %d asks for %s: use the -n of its creation, or another directory", dir, strings.TrimSpace(string(text)), len(configs), members)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	var missing []config
	started := paxos.ServerID(0)
	for _, c := range configs {
		boot, err := bootOf(filepath.Join(dir, c.Dir), c)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, c)
		case err != nil:
			return err
		case boot > 0:
			started = c.ID
		}
	}
	if started != 0 && len(missing) > 0 {
		return fmt.Errorf("%s: server %d has run, and the storage of server %d is missing: it is lost, and is not created again; begin anew in another directory",
			dir, started, missing[0].ID)
	}
	for _, c := range missing {
		if err := wal.Create(filepath.Join(dir, c.Dir), c.ID, c.members()); err != nil {
			return err
		}
	}
	return writeMarker(marker, members)
}

// createNew creates the storage of a new server, unless that was done before. A storage that was ever started from is refused: this one never
// was.
func createNew(dir string, c config) error {
	switch boot, err := bootOf(filepath.Join(dir, c.Dir), c); {
	case errors.Is(err, fs.ErrNotExist):
		return wal.Create(filepath.Join(dir, c.Dir), c.ID, c.members())
	case err != nil:
		return err
	case boot > 0:
		return fmt.Errorf("%s is the storage of a server that has run: take a ServerID that was never used", filepath.Join(dir, c.Dir))
	}
	return nil
}

// bootOf returns how often a storage was started from. It is an error if it is another server's than c says.
func bootOf(dir string, c config) (uint64, error) {
	log, err := wal.Open(dir, wal.Options{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer log.Close()
	state, err := log.Server()
	if err != nil {
		return 0, err
	}
	blank := memory.NewStorage()
	if err := paxos.Format(blank, c.ID, c.members()); err != nil {
		return 0, err
	}
	want, err := blank.Server()
	if err != nil {
		return 0, err
	}
	if state.ID != want.ID || state.Cluster != want.Cluster || state.Members != want.Members {
		return 0, fmt.Errorf("%s: it is the storage of server %d of cluster %q under %s, not of server %d of %s", dir, state.ID, state.Cluster, state.Members, c.ID, c.members())
	}
	return state.Boot, nil
}

// writeMarker writes the marker, which is durable before any server starts.
func writeMarker(file, members string) error { return writeDurably(file, []byte(members+"\n")) }

// writeDurably writes a file. When it returns, the file survives a loss of power. Before that, the file is the old one, or the new one.
func writeDurably(file string, text []byte) (err error) {
	f, err := os.OpenFile(file+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(file+".tmp", file); err != nil || runtime.GOOS == "windows" { // no directory can be synced there
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// replaceFile writes a file that only its owner can read. A reader finds the whole old file or the whole new one, at any time.
func replaceFile(file string, text []byte) error {
	if err := os.WriteFile(file+".tmp", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".tmp", file)
}
