package wal

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/disk/disktest"
)

// A refusal counts what became of Opens of which one file was wrong.
type refusal struct{ opened, refused, right int }

// tryWrong opens image with other contents of one file. If that is refused, nothing was changed, and with the right file back all is there.
func (n *refusal) tryWrong(image *disktest.FS, name string, wrong []byte, now moment) error {
	files := stillOf(image).with(name, wrong)
	fs := files.moving()
	n.opened++
	l, err := Open(dir, small(fs))
	if err == nil {
		n.right++
		if _, err := now.check(l); err != nil && filepath.Base(name) == manifestName {
			return err
		}
		return l.Close()
	}
	n.refused++
	if err := told(err); err != nil && wrong != nil {
		return err
	}
	fs.Kill()
	after := stillOf(fs)
	if !maps.EqualFunc(files, after, slices.Equal) {
		return fmt.Errorf("a refused Open changed the directory: %w; before %q, after %q", err, files.names(), after.names())
	}
	right := fs.Content(name)
	if content, ok := stillOf(image)[name]; ok {
		fs.Put(name, content)
	} else if right != nil {
		if err := fs.Remove(name); err != nil {
			return err
		}
	}
	if l, err = Open(dir, small(fs)); err != nil {
		return fmt.Errorf("with the right file back: %w", err)
	}
	if _, err := now.check(l); err != nil {
		return fmt.Errorf("with the right file back: %w", err)
	}
	return l.Close()
}

// A refused Open changes nothing on the disk, so putting the right file back helps. At every moment of a history, each file is missing, cut
// short or damaged, or the manifest is one of the earlier ones. An older manifest must not have the copies of a compaction removed.
func TestRefusedOpenChangesNothing(t *testing.T) {
	manifestPath := filepath.Join(dir, manifestName)
	n, old := &refusal{}, &refusal{}
	seeds := uint64(8)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		r := record(t, seed, nil)
		manifests := [][]byte{r.base.Content(manifestPath)}
		at := 0
		require.NoError(t, r.each(func(h *disktest.History, now moment) error {
			at++
			image := h.Kill().Clone()
			current := image.Content(manifestPath)
			if string(current) != string(manifests[len(manifests)-1]) {
				manifests = append(manifests, current)
			}
			for i, manifest := range manifests[:len(manifests)-1] {
				if err := old.tryWrong(image, manifestPath, manifest, now); err != nil {
					return fmt.Errorf("seed %d, manifest %d of %d: %w", seed, i, len(manifests), err)
				}
			}
			names := image.Names()
			name := names[at%len(names)]
			content := image.Content(name)
			damaged := slices.Clone(content)
			for i := range damaged[:min(len(damaged), 64)] {
				damaged[i] ^= 0x55
			}
			for what, wrong := range map[string][]byte{"missing": nil, "cut short": content[:len(content)/3], "damaged": damaged} {
				if filepath.Base(name) == rescueName && what == "missing" {
					continue // it may hold the only copy of a batch that was not acknowledged since
				}
				if err := n.tryWrong(image, name, wrong, now); err != nil {
					return fmt.Errorf("seed %d, %s is %s: %w", seed, name, what, err)
				}
			}
			return nil
		}))
	}
	t.Logf("older manifests: %+v; other files: %+v", *old, *n)
	require.Positive(t, old.refused)
	require.Positive(t, n.refused)
}
