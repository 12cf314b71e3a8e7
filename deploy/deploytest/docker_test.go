package deploytest

import (
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An instruction is a line of a Dockerfile.
type instruction struct {
	name, rest string
}

// dockerfile returns the instructions of the Dockerfile, which has no line that goes on.
func dockerfile(t *testing.T) (all []instruction) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "Dockerfile"))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		require.False(t, strings.HasSuffix(line, `\`), "%s", line)
		name, rest, _ := strings.Cut(line, " ")
		require.Contains(t, []string{"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT"}, name)
		all = append(all, instruction{name, rest})
	}
	return all
}

// TestDockerfile: the image has the program alone. It runs as nobody, its program needs no other file, and it makes no storage.
func TestDockerfile(t *testing.T) {
	var last []instruction
	for _, i := range dockerfile(t) {
		if i.name == "FROM" {
			last = nil
		}
		last = append(last, i)
	}
	require.Equal(t, []string{"FROM", "COPY", "COPY", "USER", "ENTRYPOINT"}, names(last))
	assert.Equal(t, "scratch", last[0].rest)
	assert.Equal(t, "--from=build /out/cluster "+image, last[1].rest)
	owner := "65532:65532"
	assert.Equal(t, "--from=build --chown="+owner+" /out/empty /var/lib/paxos", last[2].rest)
	assert.Equal(t, owner, last[3].rest)
	var entry []string
	require.NoError(t, json.Unmarshal([]byte(last[4].rest), &entry), "a shell is not there")
	assert.Equal(t, []string{image}, entry, "the entrypoint is the program, with no command")

	f, err := elf.Open(program(t))
	require.NoError(t, err)
	defer f.Close()
	for _, part := range f.Progs {
		assert.NotEqual(t, elf.PT_INTERP, part.Type, "it is a static binary")
	}
	libraries, err := f.ImportedLibraries()
	require.NoError(t, err)
	assert.Empty(t, libraries)
}

func names(all []instruction) (n []string) {
	for _, i := range all {
		n = append(n, i.name)
	}
	return n
}

// TestDockerignore: each folder that the build leaves out is there, and the program needs none of them.
func TestDockerignore(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	list := exec.Command("go", "list", "-deps", "-f", `{{range .GoFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}`, "./examples/cluster")
	list.Dir = root
	needed, err := list.Output()
	require.NoError(t, err)
	require.Contains(t, string(needed), root+"/examples/cluster/main.go\n")
	text, err := os.ReadFile(filepath.Join("..", "Dockerfile.dockerignore"))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		inside, anywhere := strings.CutPrefix(line, "**/")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case anywhere && strings.HasPrefix(inside, "*"):
			assert.NotContains(t, string(needed), strings.TrimPrefix(inside, "*")+"\n", "%s", line)
		case anywhere:
			for file := range strings.Lines(string(needed)) {
				assert.False(t, strings.HasPrefix(file, root) && strings.Contains(file, "/"+inside+"/"), "%s: %s", line, file)
			}
		default:
			assert.NotContains(t, string(needed), root+"/"+line+"/")
			_, err := os.Stat(filepath.Join(root, line))
			assert.NoError(t, err, "%s", line)
		}
	}
}
