package lint

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// plant writes files below a new folder, and reads them as a tree.
func plant(t *testing.T, files map[string]string) *Tree {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	tree, err := Read(dir)
	require.NoError(t, err)
	return tree
}

func TestLinks(t *testing.T) {
	good := map[string]string{
		"README.md":        "[a](docs/design.md), [b](docs/design.md#4.1), [c](docs), [d](#two-words), [e](elsewhere://x)\n\n## Two words!\n",
		"docs/design.md":   "<a id=\"4.1\"></a>\n## 4.1 Ballots\n<a id=\"7.3\"></a>\n[up](../README.md#two-words)\n",
		"docs/source.md":   "<a id=\"S1\"></a> TestGood, of good_test.go and wal/*_test.go\n",
		"docs/pitfalls.md": "<a id=\"P1\"></a>\n",
		"good_test.go":     "package p\n\n// S1, P1, docs/design.md#4.1, docs/design.md#7.3.\nfunc TestGood() {}\n",
		"wal/wal_test.go":  "package wal\n",
		"scratch/x.md":     "[nowhere](nowhere.md)\n",
	}
	assert.Empty(t, plant(t, good).Links())
	for _, c := range []struct{ file, text, wrong string }{
		{"README.md", "[a](docs/desing.md)", "README.md links to docs/desing.md: there is no such file"},
		{"README.md", "[a](docs/design.md#4.2)", "README.md links to docs/design.md#4.2: there is no such place in it"},
		{"README.md", "[a](#three-words)", "README.md links to #three-words: there is no such place in it"},
		{"README.md", "held by TestBad", "README.md names TestBad, which is no function"},
		{"README.md", "see bad.go", "README.md names bad.go, which is no file"},
		{"README.md", "see tcp/*_test.go", "README.md names tcp/*_test.go, which is no file"},
		{"README.md", "as S2 says", "README.md cites S2, and there is no docs/source.md#S2"},
		{"a.go", "// See docs/guarantees.md.\npackage p", "a.go cites docs/guarantees.md, and there is no docs/guarantees.md"},
		{"a.go", "// See docs/design.md#9.\npackage p", "a.go cites docs/design.md#9, and there is no docs/design.md#9"},
		{"a.go", "// See DESIGN 4.1, 5.\npackage p", "a.go cites DESIGN 4.1: a section of the design is cited as docs/design.md#4.1"},
		{"a.go", "// See FAULTS 4.\npackage p", "a.go cites FAULTS 4: a section of the design is cited as docs/design.md#4.1"},
		{"a.go", "// As P31 has it.\npackage p", "a.go cites P31, and there is no docs/pitfalls.md#P31"},
		{"a_test.go", "package p\n\nvar names = []string{\"P31: it votes\"}", "a_test.go cites P31, and there is no docs/pitfalls.md#P31"},
		{"a_test.go", "package p\n\nconst why = `it is lost (S16)`", "a_test.go cites S16, and there is no docs/source.md#S16"},
		{"testdata/a.txt", "# P2", "testdata/a.txt cites P2, and there is no docs/pitfalls.md#P2"},
		{".ci/run", "# docs/none.md", ".ci/run cites docs/none.md, and there is no docs/none.md"},
	} {
		t.Run(c.text, func(t *testing.T) {
			files := map[string]string{c.file: c.text}
			for name, text := range good {
				if name != c.file {
					files[name] = text
				}
			}
			assert.Contains(t, plant(t, files).Links(), c.wrong)
		})
	}
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	_, err := Read(filepath.Join(t.TempDir(), "nowhere"))
	require.ErrorIs(t, err, os.ErrNotExist)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte("package"), 0o600))
	_, err = Read(dir)
	require.ErrorContains(t, err, "a.go:1")
}
