package lint

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// root is the folder of the repository.
const root = "../.."

// loaded has each Package that a test has loaded, by folder. No test runs in parallel, and none changes a Package.
var loaded = map[string]*Package{}

func load(t *testing.T, folder string) *Package {
	t.Helper()
	if loaded[folder] == nil {
		p, err := Load(folder)
		require.NoError(t, err)
		loaded[folder] = p
	}
	return loaded[folder]
}

// pairs returns "FROM TO NAME" of each arrow.
func pairs(arrows []Arrow) (all []string) {
	for _, a := range arrows {
		all = append(all, a.From+" "+a.To+" "+a.Name)
	}
	return all
}

func TestArrows(t *testing.T) {
	straight := load(t, "testdata/straight")
	assert.Equal(t, []string{"a.go", "b.go", "c.go"}, straight.Files(), "tests are left out")
	assert.Equal(t, []string{"b.go a.go heap", "c.go a.go heap", "c.go b.go line"}, pairs(straight.Arrows()))
	assert.Equal(t, "b.go uses heap of a.go (b.go:5)", straight.Arrows()[0].String())
	assert.Empty(t, Circles(straight.Files(), straight.Arrows()))
	assert.Equal(t, []string{"a.go", "b.go", "c.go"}, Order([]string{"c.go", "b.go", "a.go"}, straight.Arrows()))

	back := load(t, "testdata/back")
	assert.Equal(t, []string{"first.go second.go machine.turn", "second.go first.go machine", "second.go third.go limit"},
		pairs(back.Arrows()))
	assert.Equal(t, [][]string{{"first.go", "second.go"}}, Circles(back.Files(), back.Arrows()))
}

func TestBack(t *testing.T) {
	straight, back := load(t, "testdata/straight").Arrows(), load(t, "testdata/back").Arrows()
	for _, c := range []struct {
		name   string
		arrows []Arrow
		order  []string
		back   []string
		err    string
	}{
		{name: "a good order", arrows: straight, order: []string{"a.go", "b.go", "c.go"}},
		{name: "two the wrong way round", arrows: straight, order: []string{"b.go", "a.go", "c.go"}, back: []string{"b.go a.go heap"}},
		{name: "a circle", arrows: back, order: []string{"third.go", "first.go", "second.go"}, back: []string{"first.go second.go machine.turn"}},
		{name: "a circle, cut elsewhere", arrows: back, order: []string{"third.go", "second.go", "first.go"}, back: []string{"second.go first.go machine"}},
		{name: "a file is missing", arrows: straight, order: []string{"a.go", "c.go"}, err: "the order lacks a file: b.go uses heap of a.go"},
		{name: "a file is there twice", arrows: straight, order: []string{"a.go", "a.go"}, err: "the order has a.go twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wrong, err := Back(c.arrows, c.order)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.back, pairs(wrong))
		})
	}
}

func TestTouches(t *testing.T) {
	p := load(t, "testdata/straight")
	touches, err := p.Touches("heap")
	require.NoError(t, err)
	assert.Equal(t, []string{"b.go a.go heap.Count"}, pairs(touches))
	touches, err = p.Touches("line")
	require.NoError(t, err)
	assert.Empty(t, touches)
	_, err = p.Touches("queue")
	require.EqualError(t, err, "there is no type queue")
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	_, err := Load("testdata")
	require.ErrorContains(t, err, "no Go files")
}

func TestRooms(t *testing.T) {
	rooms, err := Rooms("# a comment\n\npackage straight\na.go\nb.go\nown line\nc.go\npackage back\nfirst.go\npackage . replica\nreplica.go\n")
	require.NoError(t, err)
	assert.Equal(t, []Room{
		{Folder: "straight", Order: []string{"a.go", "b.go", "c.go"}, Own: []string{"line"}},
		{Folder: "back", Order: []string{"first.go"}},
		{Folder: ".", Prefix: "replica", Order: []string{"replica.go"}},
	}, rooms)
	for _, wrong := range []string{"a.go\n", "package a b c\n", "package a\nown b c\n", "own a\n"} {
		_, err := Rooms(wrong)
		assert.ErrorContains(t, err, "is no rule", wrong)
	}
}

func TestRoomCheck(t *testing.T) {
	straight := load(t, "testdata/straight")
	for _, c := range []struct {
		name  string
		room  Room
		wrong []string
		err   string
	}{
		{name: "good", room: Room{Folder: "straight", Order: []string{"a.go", "b.go", "c.go"}, Own: []string{"line"}}},
		{name: "an arrow back", room: Room{Folder: "straight", Order: []string{"a.go", "c.go", "b.go"}}, wrong: []string{"c.go b.go line"}},
		{name: "a field", room: Room{Folder: "straight", Order: []string{"a.go", "b.go", "c.go"}, Own: []string{"heap"}}, wrong: []string{"b.go a.go heap.Count"}},
		{name: "no such type", room: Room{Folder: "straight", Order: []string{"a.go", "b.go", "c.go"}, Own: []string{"queue"}}, err: "there is no type queue"},
		{name: "a file too few", room: Room{Folder: "straight", Order: []string{"a.go", "c.go"}}, err: "b.go is not in the order of straight"},
		{name: "those of a prefix, and what others use is free", room: Room{Folder: "straight", Prefix: "b", Order: []string{"b.go"}}},
		{name: "of a prefix one too few", room: Room{Folder: "straight", Prefix: "b"}, err: "b.go is not in the order of straight"},
		{name: "one without the prefix", room: Room{Folder: "straight", Prefix: "b", Order: []string{"b.go", "a.go"}}, err: "a.go is in the order of straight, and does not begin with b"},
		{name: "a file too many", room: Room{Folder: "straight", Order: []string{"a.go", "b.go", "c.go", "d.go"}}, err: "d.go is in the order of straight, and no file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wrong, err := c.room.Check(straight)
			if c.err != "" {
				require.EqualError(t, err, c.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.wrong, pairs(wrong))
		})
	}
}

// TestNoArrowRunsBack holds orders.txt, in the packages of it that exist.
func TestNoArrowRunsBack(t *testing.T) {
	text, err := os.ReadFile("orders.txt")
	require.NoError(t, err)
	rooms, err := Rooms(string(text))
	require.NoError(t, err)
	require.NotEmpty(t, rooms)
	for _, room := range rooms {
		t.Run(room.Folder, func(t *testing.T) {
			folder := filepath.Join(root, room.Folder)
			if _, err := os.Stat(folder); os.IsNotExist(err) {
				t.Skip("there is no such package yet")
			}
			wrong, err := room.Check(load(t, folder))
			require.NoError(t, err)
			for _, a := range wrong {
				assert.Fail(t, a.String(), "move it, or mend orders.txt: a file uses only those above it")
			}
		})
	}
}
