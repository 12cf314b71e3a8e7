package wal

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/disk/disktest"
)

// siteOf says, of each call, which sync of the program it is; empty: it is none. live is the call from which on Open had returned.
func sitesOf(ops []disktest.Op, live int) []string {
	sites := make([]string, len(ops))
	written := map[string]disktest.Op{} // the first write of each file since its last sync
	copies := map[string]bool{}
	renamed := ""
	for i, op := range ops {
		switch op.Kind {
		case disktest.OpWrite:
			if _, ok := written[op.Name]; !ok {
				written[op.Name] = op
			}
			if op.At == 0 && len(op.Data) == dataStart && string(op.Data[:8]) == segmentMark {
				copies[op.Name] = true
			}
		case disktest.OpSync:
			sites[i] = fileSite(op.Name, written[op.Name].At, copies[op.Name], i < live)
			delete(written, op.Name)
		case disktest.OpRename:
			renamed = op.To
			delete(copies, op.Name)
		case disktest.OpSyncDir:
			sites[i], renamed = "directory"+kindOf(renamed), ""
		}
	}
	return sites
}

func fileSite(name string, at int64, isCopy, opening bool) string {
	switch {
	case strings.HasSuffix(name, segmentSuffix+".tmp") && isCopy:
		return "copy"
	case strings.HasSuffix(name, segmentSuffix+".tmp"):
		return "segment"
	case strings.HasSuffix(name, ".tmp"):
		return "content" + kindOf(strings.TrimSuffix(name, ".tmp"))
	case filepath.Base(name) == proofName:
		return proofName
	case at < dataStart:
		return "seal"
	case opening:
		return "tail"
	}
	return "batch"
}

// kindOf says what kind of file was renamed to name.
func kindOf(name string) string {
	switch {
	case name == "":
		return " at Open"
	case strings.HasSuffix(name, segmentSuffix):
		return " of a segment"
	case strings.HasSuffix(name, ".hint"):
		return " of a hint"
	}
	return " of " + filepath.Base(name)
}

// A second life is what happens after a first was ended: Open, which recovers, and some Saves.
type secondLife struct {
	base    *disktest.FS // as it was found
	ops     []disktest.Op
	moments []moment
	live    int // the call from which on Open had returned
}

// newSecondLife opens what a life that was ended at now has left, and saves.
func newSecondLife(found *disktest.FS, now moment, x *rand.Rand) (life secondLife, err error) {
	life.base = found.Snapshot()
	from := len(found.Ops())
	l, held, err := openImage(found, now)
	if err != nil {
		return life, err
	}
	life.live = len(found.Ops()) - from
	mark := func(begun, saved *model) {
		life.moments = append(life.moments, moment{saved, begun})
		found.Mark(len(life.moments) - 1)
	}
	mark(nil, held)
	s := &script{x: x, model: held, next: 100 + x.IntN(100), index: 1 << 20, big: 700}
	if err := s.run(l, 4, mark); err != nil {
		return life, err
	}
	life.ops = found.Ops()[from:]
	return life, nil
}

// A leaver leaves out one sync of the program wherever it stands, and looks for a crash by which something is lost.
type leaver struct {
	site   string
	left   int // calls that were left out
	before int // of them, in the lives before this one
	every  int // one in so many ends of a first life has a second
	images int
	marks  int // that were written
	x      *rand.Rand
}

func (v *leaver) history(base *disktest.FS, ops []disktest.Op, live int) *disktest.History {
	h := disktest.NewHistory(base, ops)
	sites := sitesOf(ops, live)
	h.Ignore = func(n int) bool {
		if sites[n] == v.site {
			v.left++
		}
		return sites[n] == v.site
	}
	return h
}

// check returns what is lost without the sync; nil: nothing. Power is lost, or the process killed, at every call of a first life, and
// after that of a second.
func (v *leaver) check(t *testing.T, seed uint64) error {
	r := record(t, seed, nil)
	v.marks += r.marks
	v.before = v.left
	h := v.history(r.base, r.ops, 0)
	now := r.moments[0]
	for op := h.Next(); op != nil; op = h.Next() {
		if op.Kind == disktest.OpMark {
			now = r.moments[op.Mark]
		}
		for loss := range disktest.Losses {
			if v.left == v.before {
				break // so far it is what the program does, and the crash tests take these images
			}
			v.images++
			l, _, err := openImage(h.Crash(loss, v.x), now)
			if err != nil {
				return fmt.Errorf("first life, loss %d, at %s %s: %w", loss, op.Kind, op.Name, err)
			}
			if err := l.Close(); err != nil {
				return err
			}
		}
		if v.x.IntN(v.every) > 0 {
			continue
		}
		for _, found := range []*disktest.FS{h.Kill(), h.Crash(disktest.LoseSectors, v.x), h.Crash(disktest.LoseToDirt, v.x)} {
			if err := v.checkSecond(found, now); err != nil {
				return fmt.Errorf("second life, after %s %s: %w", op.Kind, op.Name, err)
			}
		}
	}
	return nil
}

func (v *leaver) checkSecond(found *disktest.FS, now moment) error {
	life, err := newSecondLife(found, now, v.x)
	if err != nil {
		return err
	}
	h := v.history(life.base, life.ops, life.live)
	for op := h.Next(); op != nil; op = h.Next() {
		if op.Kind == disktest.OpMark {
			now = life.moments[op.Mark]
		}
		for _, loss := range []disktest.Loss{disktest.LoseAll, disktest.LoseSome, disktest.LoseToDirt} {
			if v.left == v.before {
				break
			}
			v.images++
			l, _, err := openImage(h.Crash(loss, v.x), now)
			if err != nil {
				return fmt.Errorf("loss %d, at %s %s: %w", loss, op.Kind, op.Name, err)
			}
			if err := l.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Each sync of a file or a directory is left out in turn, wherever the program calls it. Then some crash loses something, or the log can't
// be opened. Those without which nothing is lost have another reason, which is given.
func TestEachSyncIsNeeded(t *testing.T) {
	sites := []struct{ site, why string }{
		{site: "batch"},
		{site: "segment"},
		{site: "copy"},
		{site: "content of MANIFEST"},
		{site: "content of RESCUE"},
		{site: "directory of a segment"},
		{site: "directory of MANIFEST"},
		{site: "directory of RESCUE"},
		{site: "content of SEAL"},
		{site: proofName}, // else both of its slots are torn in one loss of power
		{site: "directory at Open"},
		{"tail", "RESCUE holds the batch until the sync of its seal: TestBatchIsDurableBeforeItsSeal, TestRescueThatComesBackRepairs"},
		{"seal", "nothing is lost without it, but damage is taken for a torn batch: TestSealIsDurable"},
		{"directory of SEAL", "the name of the first segment is synced before it is listed; else TestOlderVersionGetsSeal"},
		{"content of a hint", "so that Open need not read the segment after a loss of power"},
		{"directory of a hint", "so that Open need not read the segment after a loss of power"},
	}
	known := []string{""}
	for _, s := range sites {
		known = append(known, s.site)
	}
	r := record(t, 1, nil)
	for i, site := range sitesOf(r.ops, 0) {
		require.Contains(t, known, site, "%s %s", r.ops[i].Kind, r.ops[i].Name)
	}
	for _, s := range sites {
		t.Run(s.site, func(t *testing.T) {
			if testing.Short() && s.why != "" {
				t.Skip("it looks for what is not there")
			}
			t.Parallel()
			v := &leaver{site: s.site, every: 6}
			if s.why != "" && !*allBits {
				v.every = 24 // it looks for what is not there: CI looks longer
			}
			var lost error
			seeds := uint64(1)
			if s.why == "" {
				seeds = 20
			}
			for seed := uint64(0); seed < seeds && lost == nil; seed++ {
				v.x = rand.New(rand.NewPCG(seed, 12))
				lost = v.check(t, seed)
			}
			require.Positive(t, v.left, "it was never called")
			require.Positive(t, v.marks)
			if s.why == "" {
				require.Error(t, lost, "%d images: it is not needed", v.images)
			} else {
				require.NoError(t, lost, "it is needed after all")
			}
			t.Logf("%d images, left out %d times: %v", v.images, v.left, lost)
		})
	}
}

// After Close, or after a rest, the seal is durable: damage to the last batch is told of after a loss of power, too.
func TestSealIsDurable(t *testing.T) {
	for _, end := range []func(*Log){func(l *Log) { l.sealNow(t) }, func(l *Log) { require.NoError(t, l.Close()) }} {
		fs := created(t)
		l := openIn(t, fs)
		m := modelOf(l)
		saveSized(t, l, m, 100)
		saveSized(t, l, m, 100)
		path, at := l.active.path, l.active.end-60
		end(l)
		files := stillOf(fs.Crash(disktest.LoseAll, nil))
		content := slices.Clone(files[path])
		content[at] ^= 1
		_, err := Open(dir, small(files.with(path, content).moving()))
		var damaged *CorruptionError
		require.ErrorAs(t, err, &damaged)
		require.Equal(t, path, damaged.File)
		require.ErrorContains(t, err, "a seal says")
	}
}
