package lint

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// yamlLine matches a line of the part of YAML that the files below .github use. It is an item of a list, a key with or without a value, or
// both.
var yamlLine = regexp.MustCompile(`^(?:- )*(?:[A-Za-z][\w-]*:(?: (.*))?|(.+))$`)

// checkYAML returns what is wrong with a file, as far as a check without a parser can tell. In particular, a value that has ": " or
// begins like something else has to be quoted.
func checkYAML(text string) (wrong []string) {
	say := func(line int, format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("line %d: %s", line+1, fmt.Sprintf(format, args...)))
	}
	most, block := 0, -1 // how deep the next line may be; the depth of the key of a text block
	for i, line := range strings.Split(text, "\n") {
		content := strings.TrimLeft(line, " ")
		depth := len(line) - len(content)
		if content == "" || strings.HasPrefix(content, "#") || block >= 0 && depth > block {
			continue
		}
		block = -1
		match := yamlLine.FindStringSubmatch(content)
		value := ""
		if match != nil {
			value = match[1] + match[2]
		}
		switch {
		case strings.ContainsRune(line, '\t'):
			say(i, "a tab")
		case line != strings.TrimRight(line, " "):
			say(i, "spaces at its end")
		case depth%2 != 0 || depth > most:
			say(i, "%d spaces before it", depth)
		case match == nil || match[2] != "" && !strings.HasPrefix(content, "- "):
			say(i, "neither a key nor an item")
		case value == "|" || value == ">":
			block = depth
		case strings.HasPrefix(value, `"`):
			if len(value) < 2 || strings.Count(value, `"`) != 2 || !strings.HasSuffix(value, `"`) {
				say(i, "a quote that does not end")
			}
		case strings.HasPrefix(value, "["):
			if !strings.HasSuffix(value, "]") {
				say(i, "a list that does not end")
			}
		case strings.Contains(value, ": ") || strings.Contains(value, " #") || strings.ContainsAny(first(value), "`@%&*!|>'{}?,"):
			say(i, "%q has to be quoted", value)
		}
		most = depth + 2*(1+strings.Count(content[:len(content)-len(strings.TrimLeft(content, "- "))], "-"))
	}
	return wrong
}

func first(s string) string { return s[:min(1, len(s))] }

// TestHostedFilesAreYAML: the files below .github pass checkYAML.
func TestHostedFilesAreYAML(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, ".github", "*", "*.yml"))
	require.NoError(t, err)
	require.Len(t, files, 4)
	for _, file := range files {
		name, err := filepath.Rel(root, file)
		require.NoError(t, err)
		assert.Empty(t, checkYAML(readText(t, name)), name)
	}
}

// TestCheckYAML shows it files that are right, and files that are not.
func TestCheckYAML(t *testing.T) {
	for text, want := range map[string]string{
		"a: b\n# c: d: e\nlist:\n  - x: 1\n    y: 2\n  - z\nmore: |\n  any: thing: at all\n\n  \there\nq: \"a: b\"\nl: [a, b]\n": "",
		"on:\n  push:\n    branches: [main]\n  pull_request:\n":                                                                  "",
		"- - a\n  - b\n":          "",
		"a:\n\tb: c\n":            "line 2: a tab",
		"a: b \n":                 "line 1: spaces at its end",
		"a:\n   b: c\n":           "line 2: 3 spaces before it",
		"a: b\n    c: d\n":        "line 2: 4 spaces before it",
		"a: b\nc\n":               "line 2: neither a key nor an item",
		"a: \"b\n":                "line 1: a quote that does not end",
		"a: [b\n":                 "line 1: a list that does not end",
		"a: b: c\n":               `line 1: "b: c" has to be quoted`,
		"a:\n  - `b`\n":           "line 2: \"`b`\" has to be quoted",
		"a: |\n  text\nb: c: d\n": `line 3: "c: d" has to be quoted`,
		"a: b # c\n":              `line 1: "b # c" has to be quoted`,
		"a: *b\n":                 `line 1: "*b" has to be quoted`,
	} {
		if wrong := checkYAML(text); want == "" {
			assert.Empty(t, wrong, text)
		} else {
			assert.Equal(t, []string{want}, wrong, text)
		}
	}
}

// TestHostedRunIsTheOneOfTheRepository: hosted CI runs .ci/run, and tests with the Go release of go.mod and the next one.
func TestHostedRunIsTheOneOfTheRepository(t *testing.T) {
	workflow := readText(t, ".github/workflows/ci.yml")
	assert.Contains(t, workflow, "\n      - run: bash .ci/run\n")
	assert.FileExists(t, filepath.Join(root, ".ci", "run"))
	version := regexp.MustCompile(`(?m)^go (\d+)\.(\d+)`).FindStringSubmatch(readText(t, "go.mod"))
	require.NotNil(t, version)
	next := 0
	_, err := fmt.Sscan(version[2], &next)
	require.NoError(t, err)
	assert.Contains(t, workflow, fmt.Sprintf("\n        go: [\"%s.%d\", \"%s.%d\"]\n", version[1], next, version[1], next+1))
	assert.Contains(t, workflow, fmt.Sprintf("\n          go-version: \"%s.%d\"\n", version[1], next+1))
	script := readText(t, ".ci/run")
	assert.Contains(t, script, "\nstage outside ", "what RELEASING.md says of it")
}

// TestReleasingNamesEachModule: RELEASING.md has a row for each module below the root, and for no other.
func TestReleasingNamesEachModule(t *testing.T) {
	page := readText(t, "RELEASING.md")
	var modules []string
	for _, name := range readTree(t).names {
		if folder, ok := strings.CutSuffix(name, "/go.mod"); ok {
			modules = append(modules, folder)
		}
	}
	require.Greater(t, len(modules), 3)
	var rows []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]*?) \|`).FindAllStringSubmatch(page, -1) {
		if m[1] != "module" && m[1] != "---" && !strings.HasPrefix(m[1], "the root") {
			rows = append(rows, strings.Split(m[1], ", ")...)
		}
	}
	slices.Sort(modules)
	slices.Sort(rows)
	assert.Equal(t, modules, rows)
}
