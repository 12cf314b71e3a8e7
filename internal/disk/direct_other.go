//go:build !linux

package disk

import "errors"

// Reserve is not offered: no way is known here that makes a file long, and gives it room, and writes nothing.
func (f *file) Reserve(int64) error { return errors.ErrUnsupported }

// writeLong writes as any other write does.
func (f *file) writeLong(b []byte, at int64) (int, error) { return f.File.WriteAt(b, at) }
