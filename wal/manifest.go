package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
)

// The manifest says which server the directory belongs to, and lists the segments in their order. It is text, replaced as a whole: a new
// one is written and synced under another name, and renamed.
//
//	paxos wal 3
//	store 6b3f09a1c2d4e5f7
//	cluster "lunch"
//	id 1
//	members "1,2,3 majority(3)"
//	next 8
//	copy 5 end 91840 batches 12 last 5012
//	closed 4 end 65532 batches 301 last 5313
//	open 6
//	open 7
//	sum 5d2f00c1
//
// next is the number of the next segment. A closed segment, or a copy that compaction has made, has all its batches up to
// end. The field last is the latest sequence that it has held. For a copy, the segments that it replaces count, too.
//
// The manifest does not say where the batches of an open segment end; a prepared one has none. A segment is listed before anything is
// written to it. sum is the checksum of the lines before.
type manifest struct {
	version  int               // the version that it was written as
	state    paxos.ServerState // as it was formatted
	next     uint32
	segments []listed
}

// A listed segment.
type listed struct {
	number  uint32
	closed  bool
	copy    bool // a closed one made by compaction
	end     int64
	batches uint64
	last    uint64
}

const (
	manifestName = "MANIFEST"
	maxManifest  = 16 << 20 // bytes: of 200,000 segments
)

// text is the manifest as it stands in its file.
func (m *manifest) text() []byte {
	b := fmt.Appendf(nil, "paxos wal %d\nstore %016x\ncluster %q\nid %d\nmembers %q\nnext %d\n", m.version, m.state.Store, m.state.Cluster,
		m.state.ID, m.state.Members, m.next)
	for _, s := range m.segments {
		kind := "closed"
		if s.copy {
			kind = "copy"
		}
		if s.closed {
			b = fmt.Appendf(b, "%s %d end %d batches %d last %d\n", kind, s.number, s.end, s.batches, s.last)
		} else {
			b = fmt.Appendf(b, "open %d\n", s.number)
		}
	}
	return fmt.Appendf(b, "sum %08x\n", checksum(b))
}

// parseManifest reads the text of a manifest. It takes exactly what text writes.
func parseManifest(b []byte) (m manifest, err error) {
	text := string(b)
	cut := strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n") + 1
	if text[cut:] != fmt.Sprintf("sum %08x\n", checksum(b[:cut])) {
		return m, errors.New("its checksum does not match")
	}
	first, _, _ := strings.Cut(text, "\n")
	if v, ok := strings.CutPrefix(first, "paxos wal "); ok && len(v) < 20 {
		if m.version, err = strconv.Atoi(v); err != nil || m.version < 1 {
			return m, fmt.Errorf("format version %q: this program knows those up to %d only", v, formatVersion)
		}
		if m.version > formatVersion {
			return m, newer(uint64(m.version))
		}
	}
	_, rest, _ := strings.Cut(text[:cut], "\n")
	r := fields{rest: rest}
	m.state.Store = r.number("store", 16, 64)
	m.state.Cluster = r.quoted("cluster")
	m.state.ID = paxos.ServerID(r.number("id", 10, 64))
	m.state.Members = r.quoted("members")
	m.next = uint32(r.number("next", 10, 32))
	for r.err == nil && r.rest != "" {
		m.segments = append(m.segments, r.segment())
	}
	if r.err != nil {
		return m, r.err
	}
	if string(m.text()) != text {
		return m, errors.New("its text is not as this program writes it")
	}
	return m, m.check()
}

// fields reads words and their values, one after the other, up to the first that is not as expected. The bytes between them are
// compared later.
type fields struct {
	rest string
	err  error
}

// value skips a word and a space. It returns what follows, up to the end of the line.
func (r *fields) value(word string) string {
	line, _, _ := strings.Cut(r.rest, "\n")
	after, ok := strings.CutPrefix(line, word+" ")
	if !ok && r.err == nil {
		r.err = fmt.Errorf("%s is missing at %q", word, line)
	}
	return after
}

// taken goes on after a value, and the space or the end of the line that ends it.
func (r *fields) taken(word, value string) {
	r.rest = r.rest[min(len(word)+1+len(value)+1, len(r.rest)):]
}

func (r *fields) number(word string, base, bits int) uint64 {
	value, _, _ := strings.Cut(r.value(word), " ")
	n, err := strconv.ParseUint(value, base, bits)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %w", word, err)
	}
	r.taken(word, value)
	return n
}

func (r *fields) quoted(word string) string {
	value := r.value(word)
	text, err := strconv.Unquote(value)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s %q: %w", word, value, err)
	}
	r.taken(word, value)
	return text
}

func (r *fields) segment() (s listed) {
	kind, _, _ := strings.Cut(r.rest, " ")
	s.closed, s.copy = kind != "open", kind == "copy"
	if s.closed && !s.copy {
		kind = "closed"
	}
	s.number = uint32(r.number(kind, 10, 32))
	if s.closed {
		s.end = int64(r.number("end", 10, 63))
		s.batches = r.number("batches", 10, 64)
		s.last = r.number("last", 10, 64)
	}
	return s
}

// check returns an error that names a contradiction.
func (m *manifest) check() error {
	seen, open := map[uint32]bool{}, 0
	for _, s := range m.segments {
		switch {
		case s.number == 0 || s.number >= m.next || seen[s.number]:
			return fmt.Errorf("segment %d is out of place", s.number)
		case s.closed && (open > 0 || s.end < dataStart || s.end > maxSegment):
			return fmt.Errorf("segment %d is closed, but its end %d or its place in the list is not possible", s.number, s.end)
		case !s.closed:
			open++
		}
		if open > 2 { // the active one, and a prepared one
			return fmt.Errorf("segment %d is open, and so are two before it", s.number)
		}
		seen[s.number] = true
	}
	return nil
}

// readManifest reads the manifest. An error that is fs.ErrNotExist means that there is none.
func readManifest(files disk.Dir) (m manifest, err error) {
	path := filepath.Join(files.Path(), manifestName)
	f, err := files.Open(manifestName, false)
	if err != nil {
		return m, fmt.Errorf("wal: %w", err)
	}
	defer f.Close()
	if size, err := f.Size(); err == nil && size > maxManifest {
		return m, &CorruptionError{path, 0, fmt.Sprintf("it has %d bytes: no manifest is that large", size)}
	}
	b, err := readAll(f, nil, nil)
	if err != nil {
		return m, fmt.Errorf("wal: %s: %w", path, err)
	}
	if m, err = parseManifest(b); errors.Is(err, ErrNewer) {
		return m, fmt.Errorf("wal: %s: %w", path, err)
	}
	if err != nil {
		return m, &CorruptionError{path, 0, err.Error()}
	}
	return m, nil
}

// writeManifest makes m the manifest, durably.
func writeManifest(files disk.Dir, m *manifest) error {
	m.version = formatVersion
	return writeFile(files, manifestName, m.text())
}

// writeFile makes a file with that content durable under its name. It replaces a file of that name.
func writeFile(files disk.Dir, name string, content []byte) error {
	return makeFile(files, name, func(f disk.File) error {
		_, err := f.WriteAt(content, 0)
		return err
	})
}

// makeFile lets fill write a file. The file gets its name once it is durable, and replaces one of that name.
func makeFile(files disk.Dir, name string, fill func(disk.File) error) error {
	temporary := name + ".tmp"
	if err := files.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := files.Create(temporary)
	if err != nil {
		return err
	}
	giveWay()
	if err = fill(f); err == nil {
		giveWay()
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	giveWay()
	if err == nil {
		if err = files.Rename(temporary, name); isShortage(err) {
			err = fmt.Errorf("%v", err) // the state of the names is not known
		}
	}
	if err != nil {
		files.Remove(temporary)
		return err
	}
	giveWay()
	return syncNames(files)
}
