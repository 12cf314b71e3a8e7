package wal

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk/disktest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// goldenStore saves on a storage whose identity is fixed, so that every byte of it is: batches with each kind of entry, both seals, a copy
// made by compaction, a closed segment, hints of both, an active segment and one that is prepared.
func goldenStore(t *testing.T) (still, *model) {
	fs := disktest.New()
	m := newModel()
	m.state = paxos.ServerState{Cluster: `lunch "today"`, ID: 2, Store: 0x6b3f09a1c2d4e5f7, Members: "1,2,3 majority(3)"}
	require.NoError(t, writeManifest(fs, dir, &manifest{state: m.state, next: 1}))
	o := small(fs)
	o.least = 1 << 10
	l, err := Open(dir, o)
	require.NoError(t, err)
	save := func(b paxos.Batch) {
		require.NoError(t, l.Save(b))
		m.apply(b)
	}
	save(batchOf(voted("kept", 7, "green"), decided("kept too", 1, "blue")))
	for n := range uint64(6) { // most of it is replaced
		state := m.state
		state.Boot, state.Rounds, state.Last, state.Pulled = n+1, 10*n, n, "1/2f/7"
		save(paxos.Batch{Server: &state, Records: []paxos.Record{promised("promised", n+1), voted("voted", n+1, "red")}})
	}
	for n := range uint64(4) { // none of it is
		save(batchOf(decided(fmt.Sprint("decided/", n), 10*n+5, strings.Repeat("v", 100)), decided(fmt.Sprint("more/", n), 10*n+6, strings.Repeat("w", 100))))
	}
	l.sealNow(t)
	save(paxos.Batch{Drop: []paxos.NameRange{{From: "more/0", To: "more/2"}, {From: "none", To: "none\xff"}}, Records: []paxos.Record{voted("empty", 3, "")}})
	require.NoError(t, l.Close())
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

// What one version has written stays readable: the bytes never change. A change that is meant gets another formatVersion.
func TestGoldenStore(t *testing.T) {
	golden := filepath.Join("testdata", "golden")
	files, m := goldenStore(t)
	if *update {
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
	require.Equal(t, files.names(), written.names())
	for name, content := range files {
		require.True(t, bytes.Equal(written[name], content), "%s: want\n%s\ngot\n%s", name, goldenText(written[name]), goldenText(content))
	}
	l, err := written.open()
	require.NoError(t, err)
	require.NoError(t, m.differs(l))
	require.NoError(t, l.Verify())
	require.NoError(t, l.Close())
	kinds := map[string]bool{}
	listing, err := parseManifest(written[filepath.Join(dir, manifestName)])
	require.NoError(t, err)
	for _, s := range listing.segments {
		kinds[fmt.Sprintf("closed %t, copy %t", s.closed, s.copy)] = true
		require.False(t, s.closed && s.batches == 0)
	}
	require.Len(t, kinds, 3, "a copy, a closed segment and an open one")
	moving, err := Open(dir, small(written.moving()))
	require.NoError(t, err)
	saveSized(t, moving, m, 100)
	require.NoError(t, m.differs(moving))
	require.NoError(t, moving.Close())
}

// A change of format is told of in words, wherever it is met.
func TestOtherFormatVersions(t *testing.T) {
	files, _ := goldenStore(t)
	name := filepath.Join(dir, manifestName)
	_, err := files.with(name, bytes.Replace(files[name], []byte("paxos wal 1"), []byte("paxos wal 2"), 1)).open()
	require.ErrorContains(t, err, `format version "2": this program knows version 1 only`)
	for _, name := range files.names() {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		b := bytes.Clone(files[name])
		b[8] = 2
		b[32], b[33], b[34], b[35] = 0, 0, 0, 0
		sum := checksum(b[:32])
		b[32], b[33], b[34], b[35] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		l, err := files.with(name, b).open()
		if err == nil { // it has a hint
			err = l.Verify()
		}
		require.ErrorContains(t, err, "format version 2: this program knows version 1 only")
	}
}
