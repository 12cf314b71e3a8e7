package paxos_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadmeCodeCompiles holds that every Go block of the README stands to the letter in an example_test.go of the root or of node. There
// it is compiled, and its output is checked.
func TestReadmeCodeCompiles(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var examples strings.Builder
	for _, name := range []string{"example_test.go", "node/example_test.go"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		examples.Write(text)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, blocks, "the README shows a program")
	for _, block := range blocks {
		assert.Contains(t, unindent(examples.String()), unindent(block[1]))
	}
}

// TestReadmeCommands holds what .ci/run relies on: the first indented commands of the README see it work, and test it.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	commands := regexp.MustCompile(`(?m)^    (\S.*)$`).FindAllStringSubmatch(string(readme), 2)
	require.Len(t, commands, 2)
	assert.Equal(t, "go run ./examples/once burger pizza kimbap", commands[0][1])
	assert.Equal(t, "go test ./...", commands[1][1])
}

// unindent drops the white space before each line.
func unindent(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}
