//go:build !linux || arm

package disk

// Start does nothing: no way is known here to begin and not to wait.
func (f *file) Start(int64, int64) {}

// Await syncs: nothing less is known here. An error is kept for Sync, as it may be told once only.
func (f *file) Await(_, n int64) {
	if n == 0 {
		return
	}
	if err := syncData(f.File); err != nil && f.late == nil {
		f.late = err
	}
}
