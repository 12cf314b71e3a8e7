package wal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// goldenStore saves on a storage with a fixed identity, so that every byte of it is fixed. It has batches with each kind of entry that the
// version knows, both seals, a copy made by compaction, a closed segment, and hints of both. It also has an active and a prepared segment.
func goldenStore(t *testing.T, version int) (still, *model) {
	fs := disktest.New()
	m := newModel()
	m.state = paxos.ServerState{Cluster: `lunch "today"`, ID: 2, Store: 0x6b3f09a1c2d4e5f7, Members: "1,2,3 majority(3)"}
	require.NoError(t, writeManifest(disktest.At(fs, dir), &manifest{state: m.state, next: 1}))
	o := small(fs)
	o.least, o.sealEvery = 1<<10, defaultEvery
	l, err := Open(dir, o)
	require.NoError(t, err)
	save := func(b paxos.Batch) {
		require.NoError(t, l.Save(b))
		m.apply(b)
	}
	first := m.state
	first.Last = 1000
	save(paxos.Batch{Server: &first, Records: []paxos.Record{voted("kept", 7, "green"), decided("kept too", 1, "blue")}})
	for n := range uint64(6) { // most of it is replaced
		state := m.state
		state.Boot, state.Rounds, state.Last, state.Pulled = n+1, 10*n, 1000+n, "1/2f/7"
		save(paxos.Batch{Server: &state, Records: []paxos.Record{promised("promised", n+1), voted("voted", n+1, "red")}})
	}
	mark := func(name string, index uint64, size int) {
		if version < withMarks {
			return
		}
		r := voted(name, 300, strings.Repeat("m", size))
		save(batchOf(r))
		r.Chosen, r.Index, r.Acceptor.Promised = true, index, ballot(400)
		save(batchOf(r))
		require.Positive(t, l.marks[0].size)
	}
	for n := range uint64(4) { // none of it is
		save(batchOf(decided(fmt.Sprint("decided/", n), 10*n+5, strings.Repeat("v", 100)), decided(fmt.Sprint("more/", n), 10*n+6, strings.Repeat("w", 100))))
	}
	mark("marked", 50, 500)
	mark("marked next", 51, 500)
	l.sealNow(t)
	mark("marked last", 1000, 64)
	save(paxos.Batch{Drop: []paxos.NameRange{{From: "more/0", To: "more/2"}, {From: "none", To: "none\xff"}}, Records: []paxos.Record{voted("empty", 3, "")}})
	require.NoError(t, l.Close())
	if version < withProofs {
		m.state.Last = 5 // below the Index of some: no Save looked at that
	}
	return stillOf(fs), m
}

// goldenText shows what is not zero of a file.
func goldenText(b []byte) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d bytes\n", len(b))
	for at := 0; at < len(b); at += 32 {
		if line := b[at:min(at+32, len(b))]; !isZero(line) {
			fmt.Fprintf(&s, "%6d  %x\n", at, line)
		}
	}
	return s.String()
}

// goldenBytes reads what goldenText wrote.
func goldenBytes(t *testing.T, text string) []byte {
	var size int
	_, err := fmt.Sscanf(text, "%d bytes\n", &size)
	require.NoError(t, err)
	b := make([]byte, size)
	for _, line := range strings.Split(strings.TrimSpace(text), "\n")[1:] {
		var at int
		var digits string
		_, err := fmt.Sscanf(line, "%d %s", &at, &digits)
		require.NoError(t, err)
		part, err := hex.DecodeString(digits)
		require.NoError(t, err)
		copy(b[at:], part)
	}
	return b
}

// readGolden reads the files in testdata/golden that a version has written.
func readGolden(t *testing.T, version int) still {
	golden := filepath.Join("testdata", "golden", fmt.Sprint(version))
	entries, err := os.ReadDir(golden)
	require.NoError(t, err)
	written := still{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(golden, e.Name()))
		require.NoError(t, err)
		name := filepath.Join(dir, strings.TrimSuffix(e.Name(), ".txt"))
		if filepath.Base(name) == manifestName {
			written[name] = text
		} else {
			written[name] = goldenBytes(t, string(text))
		}
	}
	return written
}

// writeGolden writes the files that the version of today is the last to write so.
func writeGolden(t *testing.T, files still) {
	golden := filepath.Join("testdata", "golden", fmt.Sprint(formatVersion))
	require.NoError(t, os.RemoveAll(golden))
	require.NoError(t, os.MkdirAll(golden, 0o755))
	for name, content := range files {
		text := goldenText(content)
		if filepath.Base(name) == manifestName {
			text = string(content)
		}
		require.NoError(t, os.WriteFile(filepath.Join(golden, filepath.Base(name)+".txt"), []byte(text), 0o644))
	}
}

// The bytes that are written never change. A change that is meant gets another formatVersion.
func TestGoldenStore(t *testing.T) {
	files, _ := goldenStore(t, formatVersion)
	if *update {
		writeGolden(t, files)
	}
	written := readGolden(t, formatVersion)
	require.Equal(t, files.names(), written.names())
	for name, content := range files {
		require.True(t, bytes.Equal(written[name], content), "%s: want\n%s\ngot\n%s", name, goldenText(written[name]), goldenText(content))
	}
	marks := marksOf(t, files)
	require.Positive(t, marks.closed)
	require.Positive(t, marks.open)
	require.Positive(t, marks.hinted)
}

// A log that any version has written stays readable, with its hints and without, and more can be saved to it.
func TestGoldenVersions(t *testing.T) {
	for version := 1; version <= formatVersion; version++ {
		written := readGolden(t, version)
		_, m := goldenStore(t, version)
		l, err := written.open()
		require.NoError(t, err)
		require.NoError(t, m.differs(l))
		require.NoError(t, l.Verify())
		require.NoError(t, l.Close())
		kinds := map[string]bool{}
		listing, err := parseManifest(written[filepath.Join(dir, manifestName)])
		require.NoError(t, err)
		require.Equal(t, version, listing.version)
		for _, s := range listing.segments {
			kinds[fmt.Sprintf("closed %t, copy %t", s.closed, s.copy)] = true
			require.False(t, s.closed && s.batches == 0)
		}
		require.Len(t, kinds, 3, "a copy, a closed segment and an open one")
		for _, name := range written.names() {
			if strings.HasSuffix(name, ".hint") {
				l, err := written.with(name, nil).open()
				require.NoError(t, err)
				require.NoError(t, m.differs(l))
			}
		}
		fs := written.moving()
		moving, err := Open(dir, small(fs))
		require.NoError(t, err)
		for n := range uint64(60) {
			b := counted(moving, batchOf(decided(fmt.Sprint("saved/", n), 2000+n, strings.Repeat("s", 100))))
			require.NoError(t, moving.Save(b))
			m.apply(b)
		}
		require.NoError(t, m.differs(moving))
		require.NoError(t, moving.Close())
		listing, err = readManifest(disktest.At(fs, dir))
		require.NoError(t, err)
		require.Equal(t, formatVersion, listing.version, "an earlier program refuses it")
		require.NoError(t, m.differs(openIn(t, fs)))
	}
}

// A log that any version has written takes the state of a server after a change of members, and keeps it through compaction.
func TestGoldenVersionsTakeAChangeOfMembers(t *testing.T) {
	for version := 1; version <= formatVersion; version++ {
		_, m := goldenStore(t, version)
		fs := readGolden(t, version).moving()
		l, err := Open(dir, small(fs))
		require.NoError(t, err)
		before := paxos.Configuration{Members: paxos.Members{Cluster: m.state.Cluster, Acceptors: []paxos.ServerID{1, 2, 3}}}
		next, err := before.Next(paxos.Members{Cluster: m.state.Cluster, Acceptors: []paxos.ServerID{1, 2, 4}, Addresses: map[paxos.ServerID]string{4: "host:7000"}})
		require.NoError(t, err)
		for n := range uint64(60) {
			b := counted(l, batchOf(decided(fmt.Sprint("saved/", n), 2000+n, strings.Repeat("s", 100))))
			if n%20 == 0 {
				state := l.state
				if b.Server == nil {
					b.Server = &state
				}
				b.Server.Members, b.Server.Configuration, b.Server.Before, b.Server.Import = next.Members.Voters(), next.String(), before.String(), fmt.Sprint("1/2f/", n)
			}
			require.NoError(t, l.Save(b))
			m.apply(b)
		}
		require.NoError(t, m.differs(l))
		require.NoError(t, l.Close())
		l = openIn(t, fs)
		require.NoError(t, m.differs(l), "version %d", version)
		back := m.state
		back.Members, back.Configuration, back.Before, back.Import = "1,2,3 majority(3)", "", "", ""
		require.ErrorContains(t, l.Save(paxos.Batch{Server: &back}), "ServerState.Configuration: empty after number 1: it is never taken back")
	}
}

// A segment that an earlier version has begun gets no marks; the next ones do.
func TestNoMarksInOldSegment(t *testing.T) {
	l, err := Open(dir, small(readGolden(t, 1).moving()))
	require.NoError(t, err)
	require.False(t, l.active.marks)
	without := 0
	for n := uint64(2000); !l.active.marks || l.marks[0].size == 0; n++ {
		v := voted(fmt.Sprint("more/", n), 1, strings.Repeat("v", leastMarked))
		require.NoError(t, l.Save(batchOf(v)))
		votedIn := l.active
		require.NoError(t, l.Save(counted(l, batchOf(chosen(v, n)))))
		if votedIn == l.active && !l.active.marks {
			require.Zero(t, l.marks[0].size)
			without++
		}
		require.Less(t, n, uint64(2200))
	}
	require.Positive(t, without)
	require.NoError(t, l.Close())
}

// An entry of a later version than this program knows is no damage, whatever it is of: the state of the server, a record or a mark. It is
// told of in words.
func TestEntryOfANewerVersion(t *testing.T) {
	record := voted("lunch", 1, "pizza")
	form, err := paxos.Record{Acceptor: record.Acceptor}.AppendBinary(nil)
	require.NoError(t, err)
	state, err := paxos.ServerState{Cluster: "lunch", ID: 1}.AppendBinary(nil)
	require.NoError(t, err)
	form[0], state[0] = 99, 99
	head := append([]byte{5}, "lunch\x00"...)
	for name, entry := range map[string]struct {
		kind    uint32
		payload []byte
	}{
		"server": {kindServer, state},
		"record": {kindRecord, slices.Concat(head, form)},
		"mark":   {kindMark, slices.Concat([]byte{5}, []byte("lunch\x01\x00\x00\x00\x00\x00"), form)},
	} {
		t.Run(name, func(t *testing.T) {
			fs := created(t)
			l := openIn(t, fs)
			require.NoError(t, l.Save(batchOf(promised("first", 1))))
			s := l.active
			l.encoder.reset(s.end, 0)
			from := l.encoder.begin()
			l.encoder.buf = append(l.encoder.buf, entry.payload...)
			require.NoError(t, l.encoder.end(from, entry.kind))
			_, err := s.file.WriteAt(l.encoder.seal(l.store, uint64(s.number), uint64(s.end), l.sequence), s.end)
			require.NoError(t, err)
			require.NoError(t, s.file.Sync())
			fs.Kill()
			l, err = Open(dir, small(fs))
			if err == nil { // a record is read when it is asked for
				_, err = l.Load("lunch")
			}
			require.ErrorIs(t, err, ErrNewer)
			require.ErrorIs(t, err, paxos.ErrNewer)
			require.ErrorContains(t, err, "format version 99, but this program knows only")
			require.False(t, errors.As(err, new(*CorruptionError)), "%v", err)
		})
	}
}

// A change of format is told of in words, wherever it is met.
func TestOtherFormatVersions(t *testing.T) {
	files, _ := goldenStore(t, formatVersion)
	name := filepath.Join(dir, manifestName)
	for _, version := range []string{"0", "4", "-1", "x"} {
		b := bytes.Replace(files[name], []byte("paxos wal 3"), []byte("paxos wal "+version), 1)
		_, err := files.with(name, b).open()
		require.ErrorContains(t, err, "its checksum does not match")
		require.NotErrorIs(t, err, ErrNewer, "a bit was flipped, perhaps")
		b = bytes.Clone(b[:bytes.LastIndex(b, []byte("sum "))])
		_, err = files.with(name, fmt.Appendf(b, "sum %08x\n", checksum(b))).open()
		require.ErrorContains(t, err, "this program knows those up to 3 only")
		var damaged *CorruptionError
		require.Equal(t, version == "4", errors.Is(err, ErrNewer))
		require.Equal(t, version != "4", errors.As(err, &damaged), "%v", err)
	}
	for _, name := range files.names() {
		if !strings.HasSuffix(name, segmentSuffix) {
			continue
		}
		b := bytes.Clone(files[name])
		b[8] = 4
		b[32], b[33], b[34], b[35] = 0, 0, 0, 0
		sum := checksum(b[:32])
		b[32], b[33], b[34], b[35] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		l, err := files.with(name, b).open()
		if err == nil { // it has a hint
			err = l.Verify()
		}
		require.ErrorContains(t, err, "format version 4: this program knows those up to 3 only")
		require.ErrorIs(t, err, ErrNewer)
	}
}
