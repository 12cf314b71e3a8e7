package fileproxy

import (
	"archive/zip"
	"bytes"
	"context"
	"flag"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var outside = flag.Bool("outside", false, "build and run programs of a module outside that requires the modules of this repository by version")

// plant writes files below a new folder.
func plant(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	return dir
}

// sample is a tree of two modules, of which the second requires the first.
func sample() map[string]string {
	return map[string]string{
		"go.mod":           "module outside.test/Tree\n\ngo 1.25\n",
		"tree.go":          "package tree\n\n// Word is said.\nconst Word = \"tree\"\n",
		"LICENSE":          "free\n",
		".ci/run":          "true\n",
		"testdata/x/x.txt": "x\n",
		".git/config":      "no part of it",
		"scratch/main.go":  "no part of it",
		"leaf/go.mod": "module outside.test/Tree/leaf\n\ngo 1.25\n\nrequire outside.test/Tree v0.2.0\n\n" +
			"replace outside.test/Tree => ..\n",
		"leaf/leaf.go": "package leaf\n\nimport \"outside.test/Tree\"\n\n// Word is said.\nconst Word = tree.Word + \" and leaf\"\n",
	}
}

func TestWrite(t *testing.T) {
	proxy := t.TempDir()
	modules, err := Write(plant(t, sample()), proxy)
	require.NoError(t, err)
	version := modules[0].Version
	assert.Regexp(t, `^v0\.999\.0-tree\.[0-9a-f]{16}$`, version)
	assert.Equal(t, []Module{
		{Path: "outside.test/Tree", Folder: ".", Version: version},
		{Path: "outside.test/Tree/leaf", Folder: "leaf", Version: version, Deps: []Dependency{{"outside.test/Tree", "v0.2.0"}}},
	}, modules)

	var files []string
	require.NoError(t, filepath.WalkDir(proxy, func(name string, d fs.DirEntry, err error) error {
		if relative, _ := filepath.Rel(proxy, name); err == nil && !d.IsDir() {
			files = append(files, filepath.ToSlash(relative))
		}
		return err
	}))
	const tree, leaf = "outside.test/!tree/@v/", "outside.test/!tree/leaf/@v/"
	assert.ElementsMatch(t, []string{
		tree + "list", tree + version + ".info", tree + version + ".mod", tree + version + ".zip",
		leaf + "list", leaf + version + ".info", leaf + version + ".mod", leaf + version + ".zip",
	}, files)
	assert.Equal(t, []string{".ci/run", "LICENSE", "go.mod", "testdata/x/x.txt", "tree.go"},
		zipped(t, filepath.Join(proxy, tree, version+".zip"), "outside.test/Tree@"+version+"/"))
	assert.Equal(t, []string{"LICENSE", "go.mod", "leaf.go"},
		zipped(t, filepath.Join(proxy, leaf, version+".zip"), "outside.test/Tree/leaf@"+version+"/"))
	mod, err := os.ReadFile(filepath.Join(proxy, leaf, version+".mod"))
	require.NoError(t, err)
	assert.Contains(t, string(mod), "require outside.test/Tree "+version+"\n")
}

// TestVersionIsOfTheContents: whatever changes, the version does, and with nothing it stays.
func TestVersionIsOfTheContents(t *testing.T) {
	version := func(files map[string]string) string {
		modules, err := Write(plant(t, files), t.TempDir())
		require.NoError(t, err)
		return modules[0].Version
	}
	first := version(sample())
	assert.Equal(t, first, version(sample()))
	for _, name := range []string{"tree.go", "leaf/leaf.go", "leaf/go.mod", "new.go"} {
		files := sample()
		files[name] += "\n// more\n"
		assert.NotEqual(t, first, version(files), name)
	}
	files := sample()
	files["scratch/main.go"] += "more"
	assert.Equal(t, first, version(files))
}

// zipped returns the names of the files in an archive, sorted, without the prefix that all have.
func zipped(t *testing.T, file, prefix string) (names []string) {
	t.Helper()
	archive, err := zip.OpenReader(file)
	require.NoError(t, err)
	defer archive.Close()
	for _, f := range archive.File {
		name, ok := strings.CutPrefix(f.Name, prefix)
		assert.True(t, ok, f.Name)
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestModulesSaysWhatIsWrong(t *testing.T) {
	_, err := Modules(t.TempDir())
	require.ErrorContains(t, err, "has no go.mod")
	files := sample()
	files["twig/go.mod"] = "module outside.test/Tree/twig\n\nrequire outside.test/Tree v0.3.0\n"
	_, err = Modules(plant(t, files))
	require.EqualError(t, err, "outside.test/Tree/leaf requires outside.test/Tree v0.2.0, and outside.test/Tree/twig requires v0.3.0: "+
		"all have to require the same version")
	files["twig/go.mod"] = "nonsense\n"
	_, err = Modules(plant(t, files))
	require.ErrorContains(t, err, "twig")
}

// A user is a module outside of the tree.
type user struct {
	dir string
	env []string
}

// newUser writes the module. Its go command asks the proxies, and keeps to env otherwise.
func newUser(t *testing.T, proxies []string, files map[string]string, env ...string) user {
	t.Helper()
	return user{plant(t, files), append(append(os.Environ(), "GOPROXY="+strings.Join(proxies, ","), "GOFLAGS=-mod=mod -modcacherw -buildvcs=false",
		"GONOSUMDB=outside.test,"+modulePath, "GOPRIVATE=", "GONOPROXY=none", "GOWORK=off"), env...)}
}

// modulePath is the module of this repository.
const modulePath = "github.com/singledecree/paxos"

// run runs the go command in the module.
func (u user) run(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = u.dir, u.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stderr.String(), err
	}
	return stdout.String(), nil
}

// TestUserOfSample has the go command use the proxy, and no other.
func TestUserOfSample(t *testing.T) {
	proxy := t.TempDir()
	modules, err := Write(plant(t, sample()), proxy)
	require.NoError(t, err)
	run := func(version string) (string, error) {
		files := map[string]string{
			"go.mod":  "module user\n\ngo 1.25\n\nrequire outside.test/Tree/leaf " + version + "\n",
			"main.go": "package main\n\nimport (\n\t\"os\"\n\n\t\"outside.test/Tree/leaf\"\n)\n\nfunc main() { os.Stdout.WriteString(leaf.Word) }\n",
		}
		return newUser(t, []string{fileURL(proxy), "off"}, files, "GOMODCACHE="+t.TempDir()).run(t, "run", ".")
	}
	out, err := run(modules[0].Version)
	require.NoError(t, err, out)
	assert.Equal(t, "tree and leaf", out)
	out, err = run("v0.1.0")
	require.Error(t, err, "there is no such version: %s", out)
	assert.Contains(t, out, "outside.test/Tree/leaf v0.1.0")
}

func fileURL(dir string) string { return "file://" + filepath.ToSlash(dir) }

// TestOutside is a user of this repository: a module that requires the root and each adapter by version, without a replace. It
// shares the module cache of this machine, so that the modules of others are neither fetched nor compiled again, and removes our
// versions from it.
func TestOutside(t *testing.T) {
	if !*outside {
		t.Skip("give -outside: it compiles what the adapters stand on")
	}
	const root = "../.."
	proxy := t.TempDir()
	modules, err := Write(root, proxy)
	require.NoError(t, err)
	cache := goEnv(t, "GOMODCACHE")
	t.Cleanup(func() { forget(t, cache, modules) })
	mod, sums := "module user\n\ngo 1.25.0\n\n", map[string]bool{}
	for _, m := range modules {
		if !released(m) {
			continue
		}
		mod += "require " + m.Path + " " + m.Version + "\n"
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.Folder), "go.sum"))
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			sums[line] = true
		}
	}
	files := map[string]string{"go.mod": mod, "go.sum": strings.Join(slices.Sorted(maps.Keys(sums)), "")}
	programs, err := filepath.Glob("testdata/outside/*/main.go")
	require.NoError(t, err)
	require.NotEmpty(t, programs)
	for _, program := range programs {
		text, err := os.ReadFile(program)
		require.NoError(t, err)
		files[path.Base(filepath.Dir(program))+"/main.go"] = string(text)
	}
	u := newUser(t, []string{fileURL(proxy), goEnv(t, "GOPROXY")}, files)
	for _, program := range programs {
		name := path.Base(filepath.Dir(program))
		t.Run(name, func(t *testing.T) {
			out, err := u.run(t, "run", "./"+name)
			require.NoError(t, err, "a module that requires\n%scannot build or run %s:\n%s", mod, program, out)
			assert.Equal(t, "burger\n", out)
		})
	}
	list, err := u.run(t, "list", "-m", "-f", "{{.Path}} {{.Version}} {{.Replace}}", "all")
	require.NoError(t, err, list)
	for _, m := range modules {
		if released(m) {
			assert.Contains(t, list, m.Path+" "+m.Version+" <nil>\n", "it comes from the proxy, and nothing is replaced")
		}
	}
}

// released reports whether a module is for users; the others are for this repository alone.
func released(m Module) bool {
	return m.Folder == "." || path.Dir(m.Folder) == "adapters" && m.Folder != "adapters/compare"
}

// forget removes the modules from a module cache, in their versions: no other has those.
func forget(t *testing.T, cache string, modules []Module) {
	for _, m := range modules {
		name := filepath.FromSlash(escape(m.Path))
		assert.NoError(t, os.RemoveAll(filepath.Join(cache, name+"@"+m.Version)))
		files, err := filepath.Glob(filepath.Join(cache, "cache", "download", name, "@v", m.Version+".*"))
		assert.NoError(t, err)
		for _, file := range files {
			assert.NoError(t, os.Remove(file))
		}
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
