//go:build !unix

package disk

// RemoveSlowly is Remove: an open file can't be removed here.
func (d *dir) RemoveSlowly(name string, _ func()) error { return d.Remove(name) }
