package wal

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/disk/disktest"
)

var allBits = flag.Bool("wal.bits", false, "flip every bit, make every sector every other, and cut every file at every byte; else a sample")

// A damaging tells what became of the damaged logs that were opened.
type damaging struct {
	sync.Mutex
	opened, refused, unreadable, harmless int
	verified                              int // of the others: Verify told
	moved                                 int // were also opened to be written
}

func (d *damaging) report(t *testing.T) {
	t.Logf("%d damaged logs: %d refused, %d with unreadable records, %d as if nothing had been; Verify told of %d of those; %d written to",
		d.opened, d.refused, d.unreadable, d.harmless, d.verified, d.moved)
}

// told checks that err is damage, and that it says where.
func told(err error) error {
	var damaged *CorruptionError
	switch {
	case !errors.As(err, &damaged):
		return fmt.Errorf("not a CorruptionError: %w", err)
	case filepath.Dir(damaged.File) != dir || damaged.Offset < 0 || damaged.Reason == "":
		return fmt.Errorf("it does not say where: %w", err)
	}
	return nil
}

// allocated is how many bytes were ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// look opens a damaged log ReadOnly. It is refused, or its answers are right. matters: Verify must report the damage in any case.
func (s specimen) look(d *damaging, files still, matters bool) error {
	l, err := files.open()
	unreadable, verified := 0, error(nil)
	if err == nil {
		if _, unreadable, err = s.last.holds(l); err != nil {
			return err
		}
		if verified = l.Verify(); verified != nil {
			if err := told(verified); err != nil {
				return err
			}
		}
		if verified == nil && (matters || unreadable > 0) {
			return fmt.Errorf("Verify does not tell of it; %d records are unreadable", unreadable)
		}
		if err := l.Close(); err != nil {
			return err
		}
	} else if err := told(err); err != nil {
		return err
	}
	d.Lock()
	defer d.Unlock()
	d.opened++
	switch {
	case l == nil:
		d.refused++
	case unreadable > 0:
		d.unreadable++
	default:
		d.harmless++
		if verified != nil {
			d.verified++
		}
	}
	return nil
}

// write opens a damaged log as a server does, saves, closes it, and opens it again: it never says what is not so.
func (s specimen) write(d *damaging, files still) error {
	fs := files.moving()
	l, err := Open(dir, small(fs))
	if err != nil {
		return told(err)
	}
	m, _, err := s.last.holds(l)
	if err != nil {
		return err
	}
	d.Lock()
	d.moved++
	d.Unlock()
	now := moment{saved: m.clone()}
	for n := range 8 {
		b := batchOf(voted(fmt.Sprint("more/", n), 1, strings.Repeat("m", 1500)))
		if err := l.Save(b); err != nil { // compaction may have found the damage
			if err := told(err); err != nil {
				return err
			}
			break
		}
		now.saved.apply(b)
	}
	if _, _, err := now.holds(l); err != nil {
		return fmt.Errorf("after more was saved: %w", err)
	}
	l.Close()
	if l, err = Open(dir, small(fs)); err != nil {
		return told(err)
	}
	defer l.Close()
	if _, _, err := now.holds(l); err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	return nil
}

// A counted part is the range of a file that batches lie in, which Verify reads.
type extent struct{ from, to int64 }

// counted returns where the batches of each segment lie, up to the last byte of the last entry of each batch.
func (s specimen) counted(t *testing.T) map[string][]extent {
	l, err := s.files.open()
	require.NoError(t, err)
	extents := map[string][]extent{}
	for _, segment := range l.row {
		scan, err := l.newScan(segment, nil, nil)
		require.NoError(t, err)
		for {
			entries, at, ok, err := scan.next()
			require.NoError(t, err)
			if !ok {
				break
			}
			extents[segment.path] = append(extents[segment.path], extent{at - batchHead, at + int64(len(entries))})
		}
	}
	return extents
}

func within(extents []extent, at int64) bool {
	return slices.ContainsFunc(extents, func(e extent) bool { return e.from <= at && at < e.to })
}

// inParts runs f for every file, in two parts at a time. A part calls f with every second unit of each file.
func inParts(t *testing.T, files still, unit int, f func(name string, at int, files still) error) {
	for part := range 2 {
		t.Run(fmt.Sprint("part", part), func(t *testing.T) {
			t.Parallel()
			mine := still{}
			for name, content := range files {
				mine[name] = slices.Clone(content)
			}
			for _, name := range mine.names() {
				for at := part * unit; at < len(mine[name]); at += 2 * unit {
					if err := f(name, at, mine); err != nil {
						t.Fatalf("%s, byte %d: %v", name, at, err)
					}
				}
			}
		})
	}
}

func each(every int) int {
	switch {
	case *allBits:
		return 1
	case testing.Short():
		return 10*every + 1
	}
	return every
}

// docs/design.md#7.3: every bit of a sealed log is flipped. It is refused, or one record is, or nothing that counts was hit.
func TestEveryBitFlipped(t *testing.T) {
	s := newSpecimen(t, true)
	counted := s.counted(t)
	d := &damaging{}
	t.Cleanup(func() { d.report(t) })
	step := each(5 * 17) // an odd number: it comes to each of the 8 bits
	inParts(t, s.files, 1, func(name string, at int, files still) error {
		for bit := range 8 {
			if (at*8+bit)%step != 0 {
				continue
			}
			files[name][at] ^= 1 << bit
			err := s.look(d, files, within(counted[name], int64(at)))
			if err == nil && (at*8+bit)%(17*11) == 0 {
				err = s.write(d, files)
			}
			if files[name][at] ^= 1 << bit; err != nil {
				return fmt.Errorf("bit %d: %w", bit, err)
			}
		}
		return nil
	})
}

// Sizes in a damaged log are not believed: it is opened and read with about the memory that a whole one needs.
func TestDamageAllocatesLittle(t *testing.T) {
	s := newSpecimen(t, true)
	d := &damaging{}
	measure := func() uint64 {
		before := allocated()
		require.NoError(t, s.look(d, s.files, false))
		return allocated() - before
	}
	usual, most := measure(), uint64(0)
	for _, name := range s.files.names() {
		content := slices.Clone(s.files[name])
		s.files[name] = content
		for at := 0; at < len(content); at++ {
			if at%each(13) == 0 && content[at] != 0 {
				content[at] ^= 0x40 // lengths become large by it
				most = max(most, measure())
				content[at] ^= 0x40
			}
		}
	}
	t.Logf("%d KiB for a whole log, at most %d KiB for %d damaged ones", usual>>10, most>>10, d.opened)
	require.Less(t, most, usual+2<<20)
}

const sectorSize = 512

// sectorOf returns the n-th sector of a file, which may be cut short.
func sectorOf(b []byte, at int) []byte { return b[at:min(at+sectorSize, len(b))] }

// docs/design.md#7.3: every sector of a sealed log is zeroed, filled with ones, or becomes a copy of another, of the same file or of another one.
func TestEverySectorReplaced(t *testing.T) {
	s := newSpecimen(t, true)
	d := &damaging{}
	t.Cleanup(func() { d.report(t) })
	var others [][]byte
	seen := map[string]bool{}
	for _, name := range s.files.names() {
		for at := 0; at < len(s.files[name]); at += sectorSize {
			if b := sectorOf(s.files[name], at); !seen[string(b)] {
				seen[string(b)] = true
				others = append(others, b)
			}
		}
	}
	others = append(others, slices.Repeat([]byte{0xff}, sectorSize))
	t.Logf("%d sectors that differ", len(others))
	inParts(t, s.files, sectorSize, func(name string, at int, files still) error {
		sector := sectorOf(files[name], at)
		was := slices.Clone(sector)
		for i, other := range others {
			if (i+at/sectorSize)%each(3) != 0 && len(seen) > 0 && !isZero(other) {
				continue
			}
			if copy(sector, other); string(sector) == string(was) {
				continue
			}
			err := s.look(d, files, false)
			if err == nil && i%each(5) == 0 {
				err = s.write(d, files)
			}
			if copy(sector, was); err != nil {
				return fmt.Errorf("sector %d: %w", i, err)
			}
		}
		return nil
	})
}

func isZero(b []byte) bool { return strings.Trim(string(b), "\x00") == "" }

// docs/design.md#7.3: every file of a sealed log is cut short at every byte, or becomes longer, or is missing.
func TestEveryTruncation(t *testing.T) {
	s := newSpecimen(t, true)
	d := &damaging{}
	t.Cleanup(func() { d.report(t) })
	inParts(t, s.files, 1, func(name string, at int, files still) error {
		inPadding := name == s.path && int64(at) > s.end-8 && int64(at) < s.end+8
		if at%each(7) != 0 && at > 64 && !inPadding {
			return nil
		}
		cut := files.with(name, files[name][:at:at])
		if err := s.look(d, cut, false); err != nil {
			return err
		}
		if at%each(16) == 0 {
			return s.write(d, cut)
		}
		return nil
	})
	for _, name := range s.files.names() {
		for _, more := range []int{1, 8, 511, 4096, 1 << 20} {
			for _, fill := range []byte{0, 0xff} {
				longer := s.files.with(name, append(slices.Clone(s.files[name]), slices.Repeat([]byte{fill}, more)...))
				require.NoError(t, s.look(d, longer, false), "%s", name)
				require.NoError(t, s.write(d, longer), "%s", name)
			}
		}
		for _, other := range s.files.names() {
			swapped := s.files.with(name, slices.Clone(s.files[other]))
			require.NoError(t, s.look(d, swapped, false), "%s is %s", name, other)
			require.NoError(t, s.write(d, swapped), "%s is %s", name, other)
		}
		missing := s.files.with(name, nil)
		require.NoError(t, s.write(d, missing), "%s", name)
		l, err := missing.open()
		switch filepath.Ext(name) {
		case ".hint":
			require.NoError(t, err, "a hint is a copy")
			require.NoError(t, s.last.saved.differs(l))
			require.NoError(t, l.Verify())
		default:
			var damaged *CorruptionError
			require.ErrorAs(t, err, &damaged, "%s", name)
			require.Equal(t, name, damaged.File)
			require.Contains(t, damaged.Reason, "missing")
		}
	}
}

// In a log that is not sealed, damage before the last batch is told of just the same. Damage to the last batch looks like one that
// was being saved when power was lost: it goes, whole, and nothing else.
func TestUnsealedDamage(t *testing.T) {
	s := newSpecimen(t, false)
	sealed := specimen{files: s.files, last: moment{saved: s.last.saved}}
	dropped := 0
	var mu sync.Mutex
	d := &damaging{}
	t.Cleanup(func() {
		d.report(t)
		t.Logf("the last batch went in %d of them", dropped)
		require.Positive(t, dropped)
	})
	counted := s.counted(t)
	inParts(t, s.files, 1, func(name string, at int, files still) error {
		inLast := name == s.path && int64(at) >= s.began && int64(at) < s.end
		if at%each(25) != 0 && !inLast {
			return nil
		}
		damage := []func(){
			func() { files[name][at] ^= 1 << (at % 8) },
			func() { clear(sectorOf(files[name], at&^(sectorSize-1))) },
			func() { clear(files[name][at:]) },
		}
		if at < dataStart { // a segment of zeros with a header is as it was prepared
			damage = damage[:2]
		}
		was := slices.Clone(files[name])
		for i, f := range damage {
			f()
			strict := sealed // nothing may go
			if touched := !slices.Equal(was[min(s.began, int64(len(was))):], files[name][min(s.began, int64(len(was))):]); name == s.path && touched {
				strict = s
			}
			err := strict.look(d, files, i == 0 && !inLast && within(counted[name], int64(at)))
			if err == nil && at%45 == 0 {
				err = strict.write(d, files)
			}
			if err == nil && inLast {
				l, opening := files.open()
				if i == 0 && opening != nil {
					err = fmt.Errorf("the last batch alone was hit: %w", opening)
				} else if opening == nil && s.last.begun.differs(l) == nil {
					mu.Lock()
					dropped++
					mu.Unlock()
				}
			}
			if copy(files[name], was); err != nil {
				return fmt.Errorf("damage %d: %w", i, err)
			}
		}
		return nil
	})
}

// A rescue that is damaged is told of; a whole one puts the batch that was being written again in its place.
func TestRescueDamaged(t *testing.T) {
	s := newSpecimen(t, false)
	rescue := slices.Clone(s.files[s.path][s.began:s.end])
	name := filepath.Join(dir, rescueName)
	torn := slices.Clone(s.files[s.path])
	clear(torn[s.began+100 : s.end])
	whole := s.files.with(s.path, torn).with(name, rescue)
	l, err := Open(dir, small(whole.moving()))
	require.NoError(t, err)
	require.NoError(t, s.last.saved.differs(l), "the batch is there again")
	require.NoError(t, l.Close())
	never := moment{saved: s.last.saved}
	for at := range len(rescue) {
		for bit := range 8 {
			if (at*8+bit)%each(5) != 0 {
				continue
			}
			rescue[at] ^= 1 << bit
			l, err := Open(dir, small(whole.with(name, rescue).moving()))
			if err != nil {
				require.NoError(t, told(err))
			} else {
				_, _, err := never.holds(l)
				require.NoError(t, err, "byte %d, bit %d", at, bit)
				require.NoError(t, l.Close())
			}
			rescue[at] ^= 1 << bit
		}
		_, err := Open(dir, small(whole.with(name, rescue[:at:at]).moving()))
		var damaged *CorruptionError
		require.ErrorAs(t, err, &damaged)
		require.Equal(t, name, damaged.File)
	}
	// One that comes back, as its removal was not synced, changes nothing.
	x := rand.New(rand.NewPCG(1, 11))
	sealed := newSpecimen(t, true)
	back := sealed.files.with(name, slices.Clone(sealed.files[sealed.path][sealed.began:sealed.end]))
	require.NoError(t, checkImage(back.moving(), moment{saved: sealed.last.saved}, x))
	require.NoError(t, checkImage(back.moving().Crash(disktest.LoseSome, x), moment{saved: sealed.last.saved}, x))
}
