package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

// fuzzedFiles are the files that FuzzOpenSegment replaces.
func fuzzedFiles(s specimen) []string {
	var names []string
	for _, name := range s.files.names() {
		if filepath.Base(name) != lockName {
			names = append(names, name)
		}
	}
	return append(names, filepath.Join(dir, rescueName))
}

// resum corrects the checksums in bytes that a fuzzer made, since it would not find them: those of a manifest, a hint, and the head and all
// batches of a segment. Batches also get their place, and marks the checksums of their votes.
func resum(name string, b []byte, store uint64) {
	le := binary.LittleEndian
	switch filepath.Ext(name) {
	case "":
		if cut := len(b) - len("sum 01234567\n"); filepath.Base(name) == manifestName && cut > 0 {
			copy(b[cut:], fmt.Sprintf("sum %08x\n", checksum(b[:cut])))
		} else if len(b) >= batchHead {
			sumBatch(b, le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:]))
		}
	case ".hint":
		if len(b) > hintHead+4 {
			le.PutUint32(b[len(b)-4:], checksum(b[:len(b)-4]))
		}
	case segmentSuffix, oldSuffix:
		number, _ := segmentOf(filepath.Base(name))
		if len(b) > segmentHead {
			le.PutUint32(b[32:], checksum(b[:32]))
		}
		for turn := range 2 {
			if at := int(sealOffset(turn)); len(b) > at+sealSize {
				le.PutUint32(b[at+48:], checksum(b[at:at+48]))
			}
		}
		for at := dataStart; at+batchHead <= len(b) && le.Uint32(b[at:]) == batchMark; {
			resumMarks(b, at)
			n := sumBatch(b[at:], store, uint64(number), uint64(at))
			if n == 0 {
				break
			}
			at += n
		}
	}
}

// resumMarks has the marks of the batch at that offset of a segment say the checksums of what lies where they say that their votes are.
func resumMarks(b []byte, at int) {
	end := at + batchHead + int(leUint32(b[at+4:]))
	if end < at || end > len(b) {
		return
	}
	for at += batchHead; at < end; {
		e, _, err := nextEntry(b[at:end], int64(at))
		if err != nil {
			return
		}
		if at += len(e.bytes); e.kind != kindMark {
			continue
		}
		_, _, rest, err := recordHead(e.payload())
		offset, n := binary.Uvarint(rest)
		if err == nil && n > 0 && len(rest) >= n+4 && offset < uint64(len(b)-4) {
			copy(rest[n:n+4], b[offset:])
		}
	}
}

// sumBatch makes the batch at the beginning of b fit its place, and returns how long it is.
func sumBatch(b []byte, store, segment, offset uint64) int {
	le := binary.LittleEndian
	length := int(le.Uint32(b[4:]))
	if length > len(b)-batchHead {
		return 0
	}
	entries := b[batchHead : batchHead+length]
	for rest, at := entries, offset+batchHead; len(rest) > 0; {
		e, next, err := nextEntry(rest, int64(at))
		if err != nil {
			break
		}
		le.PutUint32(e.bytes, place{store, segment, at}.sum(e.bytes))
		at += uint64(len(e.bytes))
		rest = next
	}
	h := batchHeader{length: length, store: store, segment: segment, offset: offset, sequence: le.Uint64(b[32:]), watermark: offset,
		entries: int(le.Uint32(b[48:])), entriesSum: checksum(entries)}
	h.put(b)
	return int(padded(int64(batchHead + length)))
}

// isRefusal tells whether err says that bytes with the right checksum are damaged, or that a newer version has written them.
func isRefusal(err error) bool {
	return errors.As(err, new(*CorruptionError)) || errors.Is(err, ErrNewer)
}

// laterRecords returns a segment whose records are of a format version that no program knows yet. Its checksums are to be corrected.
func laterRecords(segment []byte) []byte {
	b := slices.Clone(segment)
	for at := dataStart; at+batchHead <= len(b) && leUint32(b[at:]) == batchMark; {
		end := at + batchHead + int(leUint32(b[at+4:]))
		for from := at + batchHead; from < end; {
			e, _, err := nextEntry(b[from:end], int64(from))
			if err != nil {
				break
			}
			if from += len(e.bytes); e.kind == kindRecord {
				if _, _, form, err := recordHead(e.payload()); err == nil {
					form[0] = 102
				}
			}
		}
		at += int(padded(int64(end - at)))
	}
	return b
}

// everything reads all that a log says, which must not fail but with a refusal.
func everything(t *testing.T, l *Log) map[string]paxos.Record {
	all := map[string]paxos.Record{}
	load := func(name string) {
		r, err := l.Load(name)
		if err != nil {
			require.True(t, isRefusal(err), "%v", err)
			return
		}
		all[name] = r
	}
	_, err := l.Server()
	require.NoError(t, err)
	for name, err := range l.Undecided() {
		require.NoError(t, err)
		load(name)
	}
	named, err := l.Decided(0, 1<<20)
	require.NoError(t, err)
	last := uint64(0)
	for _, n := range named {
		require.Greater(t, n.Index, last)
		last = n.Index
		load(n.Instance)
	}
	return all
}

// oddEntries are entries for hints. No log writes most of them.
var oddEntries = [][]byte{
	{kindServer, 0, 3, 1, 2, 3}, // shorter than the head of an entry
	{kindDrop, 0, 0},            // empty
	{kindRecord, 0, 8, 5, 1, 'a', kindRecord, 0, 8, 5, 1, 'b'}, // two with one Index
	{kindRecord, 0, 8, 0, 0},                                   // no name
	{kindRecord, 0xff, 0xff, 0xff, 0x7f, 8, 0, 1, 'a'},         // beyond the segment
	{kindRecord, 0, 0xff, 0xff, 0xff, 0x07, 0, 1, 'a'},         // 16 MiB
	{kindMark, 64, 8, 5, 1, 'a', 32, 16},                       // a mark
	{kindMark, 64, 8, 0, 1, 'a', 32, 16},                       // not decided
	{kindMark, 64, 8, 5, 1, 'a', 0xff, 0xff, 0x03, 16},         // its vote before the segment
	{kindMark, 64, 8, 5, 1, 'a', 8, 16},                        // in it
	{kindMark, 64, 8, 5, 1, 'a', 32},                           // cut short
}

// With any bytes in a file of a log, Open and later calls never panic, and need little more memory than there are bytes. All that they show
// is there at the next Open, too.
func FuzzOpenSegment(f *testing.F) {
	s := newSpecimen(f, true)
	open, _ := s.files.open()
	store := open.store
	names := fuzzedFiles(s)
	for i, name := range names {
		f.Add(byte(i), false, s.files[name])
		f.Add(byte(i), true, s.files[name])
		f.Add(byte(i), true, slices.Clone(s.files[s.path][s.began:s.end]))
		if filepath.Ext(name) == segmentSuffix {
			f.Add(byte(i), true, laterRecords(s.files[name]))
		}
	}
	for _, entry := range oddEntries {
		for i, name := range names {
			if filepath.Ext(name) == ".hint" {
				f.Add(byte(i), true, slices.Concat(s.files[name][:hintHead], entry, []byte{0, 0, 0, 0}))
			}
		}
	}
	f.Fuzz(func(t *testing.T, which byte, right bool, content []byte) {
		if len(content) > 1<<20 {
			return
		}
		name := names[int(which)%len(names)]
		content = slices.Clone(content)
		if right {
			resum(name, content, store)
		}
		files := s.files.with(name, content)
		before := allocated()
		seen := readOnly(t, files)
		require.Less(t, allocated()-before, uint64(64<<20+64*len(content)))
		fs := files.moving()
		if shown := savedInto(t, fs, seen); shown != nil {
			again, err := Open(dir, small(fs))
			if err != nil {
				require.True(t, isRefusal(err), "%v", err)
				return
			}
			require.Equal(t, shown, everything(t, again))
			again.Close()
		}
	})
}

// readOnly returns all that the files say to a log that is opened ReadOnly; nil if that fails.
func readOnly(t *testing.T, files still) map[string]paxos.Record {
	still, err := files.open()
	if err != nil {
		return nil
	}
	seen := everything(t, still)
	still.Verify()
	require.NoError(t, still.Close())
	return seen
}

// savedInto opens the log on fs, checks that it says what was seen of it, unless that is nil, saves one record more, and closes it. It
// returns all that the log says then; nil if it does not open.
func savedInto(t *testing.T, fs *disktest.FS, seen map[string]paxos.Record) map[string]paxos.Record {
	l, err := Open(dir, small(fs))
	if err != nil {
		return nil
	}
	shown := everything(t, l)
	if seen != nil {
		require.Equal(t, seen, shown, "as it was opened ReadOnly")
	}
	if l.alive() == nil {
		if err := l.Save(batchOf(voted("fuzz", 1<<40, "v"))); err == nil {
			shown["fuzz"] = voted("fuzz", 1<<40, "v")
		}
	}
	l.Close()
	return shown
}
