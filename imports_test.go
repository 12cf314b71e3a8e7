package paxos

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The rules of the layers (docs and CONTRIBUTING say why), held by reading the source. This file needs no
// other, so that it also runs alone: go test imports_test.go

const modulePath = "github.com/singledecree/paxos"

// pureFiles are the vocabulary and the roles: nothing but data.
var pureFiles = []string{"ballot.go", "promise.go", "owned.go", "message.go", "message_text.go", "quorum.go",
	"acceptor.go", "proposer.go", "learner.go", "internal/durable/durable.go"}

// A sourceFile is one Go file of the repository. Its path is relative and has slashes.
type sourceFile struct {
	path string
	ast  *ast.File
	fset *token.FileSet
}

func parseSource(name string, src []byte) (sourceFile, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	return sourceFile{name, file, fset}, err
}

// repositorySource parses every Go file of this module.
func repositorySource(t *testing.T) (files []sourceFile) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			foreign := err == nil || slices.Contains([]string{"testdata", "tmp"}, d.Name()) || strings.HasPrefix(d.Name(), ".")
			if foreign && name != "." {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parseSource(filepath.ToSlash(name), src)
		files = append(files, f)
		return err
	})
	require.NoError(t, err)
	root := func(f sourceFile) bool { return f.path == "acceptor.go" }
	require.True(t, slices.ContainsFunc(files, root), "run it in the root package")
	return files
}

func (f sourceFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }
func (f sourceFile) isRoot() bool { return path.Dir(f.path) == "." }
func (f sourceFile) isPure() bool { return slices.Contains(pureFiles, f.path) }

func (f sourceFile) isReplica() bool {
	dir := path.Dir(f.path)
	return (dir == "replica" || dir == "internal/change" || dir == "internal/durable" || dir == "internal/page" || dir == "internal/standing") && !f.isTest()
}

// isCore reports whether f is in the root package, replica, node, memory, wal or tcp, or in the oracle, which judges them. Other code
// builds upon these.
func (f sourceFile) isCore() bool {
	top, _, _ := strings.Cut(f.path, "/")
	return f.isRoot() || f.layer() != nil || top == "wal" || top == "tcp"
}

// layers are what the packages of the core may import of this module. The oracle shares no code with what it judges.
var layers = map[string][]string{
	".":       {},
	"replica": {"", "/internal/change", "/internal/durable", "/internal/page", "/internal/standing", "/internal/tables"},
	"node":    {"", "/replica", "/internal/lines"},
	"memory":  {"", "/node", "/internal/tables"},

	"internal/change":   {""},
	"internal/durable":  {""},
	"internal/page":     {""},
	"internal/standing": {"", "/internal/durable"},
	"internal/oracle":   {"", "/internal/words"},
}

// layer is what f may import of this module; nil: it is in none of layers.
func (f sourceFile) layer() []string { return layers[path.Dir(f.path)] }

// imports returns the import paths by the name that the file uses for them.
func (f sourceFile) imports() map[string]string {
	names := map[string]string{}
	for _, spec := range f.ast.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(p)
		if name == "v2" {
			name = path.Base(path.Dir(p))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "_" || name == "." {
			name += p
		}
		names[name] = p
	}
	return names
}

// importing returns what is wrong with f if it imports any package that bad says so of.
func (f sourceFile) importing(bad func(p string) bool) (wrong []string) {
	for _, p := range f.imports() {
		if bad(p) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s", f.path, p))
		}
	}
	return wrong
}

// uses returns the names that f takes from the package at the import path, with their line.
func (f sourceFile) uses(importPath string) (names []string) {
	imports := f.imports()
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && imports[x.Name] == importPath {
				names = append(names, fmt.Sprintf("%s at %s", sel.Sel.Name, f.fset.Position(n.Pos())))
			}
		}
		return true
	})
	return names
}

// within reports whether import path p is one of the packages or lies below one.
func within(p string, packages ...string) bool {
	return slices.ContainsFunc(packages, func(q string) bool { return p == q || strings.HasPrefix(p, q+"/") })
}

// A sourceRule says what every file must hold. check returns what is wrong with a file, and do what to do about it.
type sourceRule struct {
	name, do string
	check    func(f sourceFile) []string
}

var (
	pureImports = sourceRule{"the vocabulary and the roles import nothing but data",
		"take what comes from outside as an argument, or move the code to the Replica or the Node", checkPureImports}
	pureStatements = sourceRule{"the vocabulary and the roles have no goroutines and no channels",
		"roles are pure values: return the result instead", checkPureStatements}
	replicaIsPure = sourceRule{"the Replica has no I/O, clock, goroutine or randomness of its own",
		"take time as the argument now and randomness from the seeded source; leave the rest to the Node", checkReplica}
	standardLibrary = sourceRule{"the core imports the standard library alone",
		"do without, or put what needs it into a module of its own, below a directory with a go.mod", checkStandardLibrary}
	direction = sourceRule{"the core does not import what is built upon it",
		"paxostest and examples import the core, never the reverse; a test of wal or tcp may use paxostest", checkDirection}
	internalServesTests = sourceRule{"internal serves tests, and storages",
		"the core ships what it needs; use internal/explore, internal/register, and internal from the root, in _test.go files only", checkInternal}
	noSleep = sourceRule{"tests do not sleep",
		"wait for what happens instead, or run in a testing/synctest bubble", checkSleep}

	sourceRules = []sourceRule{pureImports, pureStatements, replicaIsPure, standardLibrary, direction, internalServesTests, noSleep}
)

func checkPureImports(f sourceFile) []string {
	if !f.isPure() {
		return nil
	}
	return f.importing(func(p string) bool {
		return within(p, "context", "time", "sync", "math/rand", "crypto/rand", "os", "net", "log", "io", "runtime", "syscall")
	})
}

func checkPureStatements(f sourceFile) (wrong []string) {
	if !f.isPure() {
		return nil
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		what := ""
		switch n := n.(type) {
		case *ast.GoStmt:
			what = "a go statement"
		case *ast.ChanType:
			what = "a channel type"
		case *ast.SendStmt:
			what = "a send"
		case *ast.SelectStmt:
			what = "a select"
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				what = "a receive"
			}
		}
		if what != "" {
			wrong = append(wrong, fmt.Sprintf("%s has %s", f.fset.Position(n.Pos()), what))
		}
		return true
	})
	return wrong
}

func checkReplica(f sourceFile) (wrong []string) {
	if !f.isReplica() {
		return nil
	}
	wrong = f.importing(func(p string) bool {
		// Of maphash one seed is drawn by chance: of where the table of decisions finds a name, which nobody can tell from outside.
		return within(p, "sync", "os", "net", "log", "crypto/rand", "runtime", "syscall") || p == "hash/maphash" && f.path != "replica/memos.go"
	})
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if _, ok := n.(*ast.GoStmt); ok {
			wrong = append(wrong, fmt.Sprintf("%s has a go statement", f.fset.Position(n.Pos())))
		}
		return true
	})
	clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"}
	for _, use := range f.uses("time") {
		if name, _, _ := strings.Cut(use, " "); slices.Contains(clock, name) {
			wrong = append(wrong, "time."+use)
		}
	}
	seeded := []string{"Rand", "Source", "PCG", "ChaCha8", "Zipf"}
	for _, use := range append(f.uses("math/rand"), f.uses("math/rand/v2")...) {
		if name, _, _ := strings.Cut(use, " "); !slices.Contains(seeded, name) && !strings.HasPrefix(name, "New") {
			wrong = append(wrong, "the global rand."+use)
		}
	}
	return wrong
}

func checkStandardLibrary(f sourceFile) []string {
	if f.isTest() || !f.isCore() {
		return nil
	}
	return f.importing(func(p string) bool {
		first, _, _ := strings.Cut(p, "/")
		if !within(p, modulePath) {
			return strings.Contains(first, ".")
		}
		return f.layer() != nil && !slices.Contains(f.layer(), strings.TrimPrefix(p, modulePath))
	})
}

func checkDirection(f sourceFile) []string {
	if !f.isCore() {
		return nil
	}
	return f.importing(func(p string) bool {
		return within(p, modulePath+"/examples") || !f.isTest() && within(p, modulePath+"/paxostest")
	})
}

func checkInternal(f sourceFile) []string {
	if f.isTest() {
		return nil
	}
	return f.importing(func(p string) bool {
		return within(p, modulePath+"/internal/explore", modulePath+"/internal/register") || f.isRoot() && within(p, modulePath+"/internal")
	})
}

func checkSleep(f sourceFile) (wrong []string) {
	bubble := func(p string) bool { return p == "testing/synctest" }
	if !f.isTest() || len(f.importing(bubble)) > 0 {
		return nil
	}
	for _, use := range f.uses("time") {
		if strings.HasPrefix(use, "Sleep ") {
			wrong = append(wrong, "time."+use)
		}
	}
	return wrong
}

func TestSource(t *testing.T) {
	files := repositorySource(t)
	for _, r := range sourceRules {
		t.Run(r.name, func(t *testing.T) {
			for _, f := range files {
				for _, wrong := range r.check(f) {
					assert.Fail(t, wrong, "the rule: %s\nwhat to do: %s", r.name, r.do)
				}
			}
		})
	}
}

const (
	importsExplore = `import "` + modulePath + `/internal/explore"`
	importsKit     = `import "` + modulePath + `/paxostest"`
	importsExample = `import "` + modulePath + `/examples/lunch"`
)

// samples are code that breaks a rule, and code that does not.
var samples = []struct {
	rule sourceRule
	path string
	body string
	want string // empty: nothing is wrong
}{
	{pureImports, "acceptor.go", `import "time"`, "acceptor.go imports time"},
	{pureImports, "message_text.go", `import slog "log/slog"`, "message_text.go imports log/slog"},
	{pureImports, "internal/durable/durable.go", `import _ "math/rand/v2"`, "internal/durable/durable.go imports math/rand/v2"},
	{pureImports, "quorum.go", `import "sync/atomic"`, "quorum.go imports sync/atomic"},
	{pureImports, "learner.go", `import . "crypto/rand"`, "learner.go imports crypto/rand"},
	{pureImports, "quorum.go", `import ("fmt"; "math/bits")`, ""},
	{pureImports, "node.go", `import ("context"; "time"; "os")`, ""},
	{pureImports, "wal/save.go", `import "os"`, ""},
	{pureStatements, "acceptor.go", `func f() { go f() }`, "acceptor.go:2:12 has a go statement"},
	{pureStatements, "learner.go", `type l struct { c chan int }`, "has a channel type"},
	{pureStatements, "internal/durable/durable.go", `func f(c c) { c <- 1 }`, "has a send"},
	{pureStatements, "internal/durable/durable.go", `func f(c c) { <-c }`, "has a receive"},
	{pureStatements, "proposer.go", `func f() { select {} }`, "has a select"},
	{pureStatements, "proposer.go", `func f() int { return -1 }`, ""},
	{pureStatements, "node.go", `func f(c chan int) { go f(c); c <- 1 }`, ""},
	{replicaIsPure, "replica/send.go", `func f() { go f() }`, "replica/send.go:2:12 has a go statement"},
	{replicaIsPure, "internal/change/view.go", `func f() { go f() }`, "internal/change/view.go:2:12 has a go statement"},
	{replicaIsPure, "replica/replica.go", `import "log/slog"`, "replica/replica.go imports log/slog"},
	{replicaIsPure, "replica/replica.go", `import "crypto/rand"`, "replica/replica.go imports crypto/rand"},
	{replicaIsPure, "replica/replica.go", `import "hash/maphash"`, "replica/replica.go imports hash/maphash"},
	{replicaIsPure, "replica/memos.go", `import "hash/maphash"`, ""},
	{replicaIsPure, "replica/replica.go", `import "time"; var t = time.Now()`, "time.Now at replica/replica.go:2"},
	{replicaIsPure, "replica/replica.go", `import clock "time"; var t = clock.NewTimer(1)`, "time.NewTimer at replica/replica.go:2"},
	{replicaIsPure, "replica/replica.go", `import "math/rand/v2"; var n = rand.IntN(7)`, "the global rand.IntN at replica/replica.go:2"},
	{replicaIsPure, "replica/replica.go", `import "math/rand/v2"; var r *rand.Rand = rand.New(rand.NewPCG(1, 2))`, ""},
	{replicaIsPure, "replica/replica.go", `import "time"; const d = time.Second`, ""},
	{replicaIsPure, "replica/replica_test.go", `import "time"; var t = time.Now()`, ""},
	{standardLibrary, "node.go", `import "github.com/google/btree"`, "node.go imports github.com/google/btree"},
	{standardLibrary, "wal/log.go", `import "golang.org/x/sys/unix"`, "wal/log.go imports golang.org/x/sys/unix"},
	{standardLibrary, "node.go", `import "` + modulePath + `/wal"`, "node.go imports " + modulePath + "/wal"},
	{standardLibrary, "wal/log.go", `import "` + modulePath + `"`, ""},
	{standardLibrary, "node.go", `import ("log/slog"; "crypto/rand")`, ""},
	{standardLibrary, "node_test.go", `import "go.uber.org/goleak"`, ""},
	{standardLibrary, "internal/oracle/sent.go", `import "` + modulePath + `/replica"`, "internal/oracle/sent.go imports " + modulePath + "/replica"},
	{standardLibrary, "internal/oracle/sent.go", importsKit, "internal/oracle/sent.go imports " + modulePath + "/paxostest"},
	{standardLibrary, "internal/oracle/sent.go", `import ("` + modulePath + `"; "` + modulePath + `/internal/words")`, ""},
	{direction, "tcp/tcp.go", importsKit, "tcp/tcp.go imports " + modulePath + "/paxostest"},
	{direction, "node.go", importsKit, "node.go imports"},
	{direction, "node_test.go", importsExample, "node_test.go imports"},
	{direction, "wal/wal_test.go", importsKit, ""},
	{direction, "examples/lunch/main.go", importsKit, ""},
	{internalServesTests, "node.go", importsExplore, "node.go imports " + modulePath + "/internal/explore"},
	{internalServesTests, "node.go", `import "` + modulePath + `/internal/disk"`, "node.go imports"},
	{internalServesTests, "paxostest/sim.go", importsExplore, "paxostest/sim.go imports"},
	{internalServesTests, "examples/cluster/api.go", `import "` + modulePath + `/internal/register"`, "examples/cluster/api.go imports"},
	{internalServesTests, "wal/log.go", `import "` + modulePath + `/internal/disk"`, ""},
	{internalServesTests, "explore_test.go", importsExplore, ""},
	{noSleep, "wal/wal_test.go", `import "time"; func f() { time.Sleep(1) }`, "time.Sleep at wal/wal_test.go:2"},
	{noSleep, "node_test.go", `import ("testing/synctest"; "time"); func f() { synctest.Wait(); time.Sleep(1) }`, ""},
	{noSleep, "node.go", `import "time"; func f() { time.Sleep(1) }`, ""},
}

// The rules themselves: each is shown code that breaks it and code that does not.
func TestSourceRulesSeeBadCode(t *testing.T) {
	shown := map[string][2]int{} // how much bad and good code each rule was shown
	for _, c := range samples {
		f, err := parseSource(c.path, []byte("package p\n"+c.body+"\n"))
		require.NoError(t, err, c.body)
		wrong := strings.Join(c.rule.check(f), "\n")
		count := shown[c.rule.name]
		if c.want == "" {
			count[1]++
			assert.Empty(t, wrong, "%s: %s: %.80q", c.rule.name, c.path, c.body)
		} else {
			count[0]++
			assert.Contains(t, wrong, c.want, "%s: %s: %.80q", c.rule.name, c.path, c.body)
		}
		shown[c.rule.name] = count
	}
	for _, r := range sourceRules {
		assert.Positive(t, shown[r.name][0], "%s: no bad code", r.name)
		assert.Positive(t, shown[r.name][1], "%s: no good code", r.name)
	}
}

// foreignPackages returns the packages in the binary of a package, on an operating system, that are neither of the standard library nor
// of this module. own is the number of those of this module.
func foreignPackages(t *testing.T, goos, pkg string) (foreign []string, own int) {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", pkg)
	list.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := list.Output()
	require.NoError(t, err)
	for _, p := range strings.Fields(string(out)) {
		if within(p, modulePath) {
			own++
		} else {
			foreign = append(foreign, p)
		}
	}
	return foreign, own
}

// TestBinaryStandsAlone: a binary that imports the root, node, wal, tcp and paxoshttp has no package outside the standard library and this module.
func TestBinaryStandsAlone(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		foreign, own := foreignPackages(t, goos, "./testdata/binary")
		assert.Empty(t, foreign, goos)
		assert.GreaterOrEqual(t, own, 6, "it is listed")
	}
	foreign, _ := foreignPackages(t, runtime.GOOS, "./internal/register")
	assert.NotEmpty(t, foreign, "a package that needs another module is found")
}
