package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// theTree is the tree of the repository. It is read once, and no test changes it.
var theTree = sync.OnceValues(func() (*Tree, error) { return Read(root) })

func readTree(t *testing.T) *Tree {
	t.Helper()
	tree, err := theTree()
	require.NoError(t, err)
	require.Greater(t, len(tree.files), 200, "the repository is found")
	return tree
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(text)
}

// numberedRows returns the cells of the rows of a page whose first cell has an anchor and the same number.
func numberedRows(t *testing.T, page, letter string, want int) (rows [][]string) {
	t.Helper()
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, `| <a id="`+letter) {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		number := fmt.Sprintf("%s%d", letter, len(rows)+1)
		require.Equal(t, fmt.Sprintf(`<a id="%s"></a>%s`, number, number), strings.TrimSpace(cells[0]))
		rows = append(rows, cells)
	}
	require.Len(t, rows, want)
	return rows
}

// TestSourceRowsAreHeld: each row of docs/source.md names its test, and each scenario of examples/lunch that is of the row.
func TestSourceRowsAreHeld(t *testing.T) {
	tests := readTree(t).functions()
	scenarios := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t\t\{"(S\d+)", "([\w-]+)",`).FindAllStringSubmatch(readText(t, "examples/lunch/scenarios.go"), -1) {
		scenarios[m[1]] = append(scenarios[m[1]], m[2])
	}
	for i, cells := range numberedRows(t, readText(t, sourcePage), "S", 15) {
		number := fmt.Sprintf("S%d", i+1)
		require.Len(t, cells, 5, number)
		named := testNamed.FindAllString(cells[3], -1)
		assert.Equal(t, 1, countPrefix(named, fmt.Sprintf("TestS%02d", i+1)), "%s names its own test", number)
		for _, name := range named {
			assert.True(t, tests[name], "%s names %s, which is no test", number, name)
		}
		assert.Equal(t, scenarios[number], strings.Split(strings.TrimSpace(cells[4]), ", "), number)
	}
}

func countPrefix(names []string, prefix string) (n int) {
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

// TestPitfallsAreHeld: each row of docs/pitfalls.md names a test; the traces and mutants that it names exist; and it names
// every trace and every mutant that has its number.
func TestPitfallsAreHeld(t *testing.T) {
	tests := readTree(t).functions()
	mutants := regexp.MustCompile(`(?m)^=== (.*)$`).FindAllStringSubmatch(readText(t, "internal/proof/testdata/mutants.txt"), -1)
	traces, err := filepath.Glob(filepath.Join(root, "internal/proof/testdata/regress/*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, traces)
	for i, cells := range numberedRows(t, readText(t, pitfallsPage), "P", 30) {
		number := fmt.Sprintf("P%d", i+1)
		require.Len(t, cells, 5, number)
		held := cells[4]
		assert.True(t, slices.ContainsFunc(testNamed.FindAllString(held, -1), func(name string) bool { return tests[name] }),
			"%s names no test that exists", number)
		for _, m := range regexp.MustCompile("mutant `([^`]*)`").FindAllStringSubmatch(held, -1) {
			assert.True(t, slices.ContainsFunc(mutants, func(known []string) bool { return known[1] == m[1] }),
				"%s names the mutant %q, which is none", number, m[1])
		}
		for _, m := range mutants {
			if strings.Contains(m[1], "("+number+")") {
				assert.Contains(t, held, "mutant `"+m[1]+"`", number)
			}
		}
		for _, m := range regexp.MustCompile("`(testdata/[^`]*)`").FindAllStringSubmatch(held, -1) {
			assert.FileExists(t, filepath.Join(root, m[1]), number)
		}
		for _, trace := range traces {
			name := strings.TrimSuffix(filepath.Base(trace), ".txt")
			if name == number || strings.HasPrefix(name, number+"-") {
				assert.Contains(t, held, "`internal/proof/testdata/regress/"+name+".txt`", number)
			}
		}
	}
}

// TestDesignHasItsSections: the sections of docs/design.md have anchors, in order, each over a heading of the same number.
func TestDesignHasItsSections(t *testing.T) {
	page := readText(t, designPage)
	sections := regexp.MustCompile(`(?m)^<a id="([\d.]+)"></a>\n(#+) ([\d.]+?)\.? `).FindAllStringSubmatch(page, -1)
	assert.Len(t, sections, len(anchorID.FindAllString(page, -1)), "each anchor is over a heading")
	var numbers []string
	for _, s := range sections {
		assert.Equal(t, s[1], s[3])
		assert.Equal(t, strings.Count(s[1], ".")+2, len(s[2]), "the depth of %s", s[1])
		numbers = append(numbers, s[1])
	}
	want := []string{"1", "2", "3", "4"}
	for i := range 17 {
		want = append(want, fmt.Sprintf("4.%d", i+1))
	}
	assert.Equal(t, append(want, "5", "6", "7", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6"), numbers)
}

// TestLinksLeadSomewhere: in the whole repository.
func TestLinksLeadSomewhere(t *testing.T) {
	assert.Empty(t, readTree(t).Links())
}
