package certs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A file is what one file is to hold.
type file struct {
	name string
	text []byte
	mode fs.FileMode
}

// create writes files that must not exist. If one does, nothing has changed. If a write fails, create removes what it has written.
func create(dir string, files ...file) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if _, err := os.Lstat(name); err == nil {
			return fmt.Errorf("%s: %w: it is not overwritten", name, fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	var made []string
	defer func() {
		if err != nil {
			for _, name := range made {
				os.Remove(name)
			}
		}
	}()
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if err := write(name, f); err != nil { // also if another process has just made it
			return err
		}
		made = append(made, name)
	}
	return nil
}

// replace writes files, and puts each in the place of the former one at once.
func replace(dir string, files ...file) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		next := name + "." + rand.Text() + ".tmp"
		err := write(next, f)
		if err == nil {
			if err = os.Rename(next, name); err == nil {
				continue
			}
			os.Remove(next)
		}
		return err
	}
	return nil
}

// write makes a new file that is on the disk when write returns. After an error there is none.
func write(name string, f file) error {
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	if err != nil {
		return err
	}
	_, err = out.Write(f.text)
	if err == nil {
		err = out.Sync()
	}
	if err2 := out.Close(); err == nil {
		err = err2
	}
	if err != nil {
		os.Remove(name)
	}
	return err
}
