package proof_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// whichSabotage is the environment variable with the number of the sabotage that is on in a program with many. Without it, none is.
const whichSabotage = "PAXOS_SABOTAGE"

// chooser is a file of each package with sabotages.
const chooser = `
import (
	"os"
	"strconv"
)

var sabotageOn = func() int { n, _ := strconv.Atoi(os.Getenv("` + whichSabotage + `")); return n }()
`

// A source is a parsed file. It keeps its functions by receiver and name, and the text of all other declarations but the imports.
type source struct {
	text      string
	functions map[string]*ast.FuncDecl
	imports   map[string]bool
	rest      string
	pkg       string
	afterName int // the offset of the end of the package clause
}

func parse(t *testing.T, text string) *source {
	file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
	require.NoError(t, err)
	s := &source{text: text, functions: map[string]*ast.FuncDecl{}, imports: map[string]bool{}, pkg: file.Name.Name, afterName: int(file.Name.End()) - 1}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = strings.TrimLeft(s.of(d.Recv.List[0].Type), "*") + "." + name
			}
			s.functions[name] = d
		case *ast.GenDecl:
			if d.Tok != token.IMPORT {
				s.rest += s.of(d) + "\n"
				continue
			}
			for _, spec := range d.Specs {
				s.imports[s.of(spec)] = true
			}
		}
	}
	return s
}

// of returns the text of a part. The only file of a set begins at position 1.
func (s *source) of(n ast.Node) string { return s.text[n.Pos()-1 : n.End()-1] }

// declared returns the text of a function from its name to its body, for a comparison.
func (s *source) declared(f *ast.FuncDecl) string { return s.text[f.Type.Func-1 : f.Body.Lbrace] }

// body returns the text of a body, for a comparison.
func (s *source) body(f *ast.FuncDecl) string { return s.of(f.Body) }

// A blend is a file with the sabotages of many mutants. A function that a mutant changes is there once more, under another name. The
// original calls that one if its mutant is on.
type blend struct {
	*source
	calls map[string]string // by function: the first statements of its body
	added map[string]string // by name: functions
	more  map[string]bool   // imports
}

func newBlend(s *source) *blend {
	return &blend{source: s, calls: map[string]string{}, added: map[string]string{}, more: map[string]bool{}}
}

// add takes in a sabotaged file. It returns false, and changes nothing, if the sabotage does more than to change bodies of functions and to
// add functions, or if a body can't be called with the same arguments.
func (b *blend) add(s *source, number int) bool {
	if s.rest != b.rest {
		return false
	}
	calls, added := map[string]string{}, map[string]string{}
	for name, is := range s.functions {
		was := b.functions[name]
		switch {
		case was == nil:
			if b.added[name] != "" {
				return false
			}
			added[name] = s.of(is)
		case s.declared(is) != b.declared(was):
			return false
		case s.body(is) != b.body(was):
			call, ok := callOf(s, is, number)
			if !ok {
				return false
			}
			calls[name] = call
			at := is.Name.Pos() - is.Pos()
			added[name+suffix(number)] = s.of(is)[:at] + is.Name.Name + suffix(number) + s.of(is)[int(at)+len(is.Name.Name):]
		}
	}
	if len(calls) == 0 || len(s.functions) < len(b.functions) {
		return false
	}
	for name, call := range calls {
		b.calls[name] += call
	}
	maps.Copy(b.added, added)
	for i := range s.imports {
		if !b.imports[i] {
			b.more[i] = true
		}
	}
	return true
}

func suffix(number int) string { return "Sabotaged" + strconv.Itoa(number) }

// callOf returns the statement that calls the sabotaged function with the arguments of the original.
func callOf(s *source, f *ast.FuncDecl, number int) (string, bool) {
	if f.Type.TypeParams != nil {
		return "", false
	}
	call := f.Name.Name + suffix(number)
	if f.Recv != nil {
		if len(f.Recv.List[0].Names) == 0 {
			return "", false
		}
		call = f.Recv.List[0].Names[0].Name + "." + call
	}
	var args []string
	for _, p := range f.Type.Params.List {
		dots := ""
		if _, variadic := p.Type.(*ast.Ellipsis); variadic {
			dots = "..."
		}
		if len(p.Names) == 0 {
			return "", false
		}
		for _, name := range p.Names {
			args = append(args, name.Name+dots)
		}
	}
	if slices.Contains(args, "_") {
		return "", false
	}
	call += "(" + strings.Join(args, ", ") + ")"
	if f.Type.Results != nil {
		return fmt.Sprintf("\nif sabotageOn == %d { return %s }\n", number, call), true
	}
	return fmt.Sprintf("\nif sabotageOn == %d { %s; return }\n", number, call), true
}

// String returns the text of the file with all of its sabotages.
func (b *blend) String() string {
	text := b.text
	names := slices.SortedFunc(maps.Keys(b.calls), func(x, y string) int { return int(b.functions[y].Pos() - b.functions[x].Pos()) })
	for _, name := range names {
		at := b.functions[name].Body.Lbrace
		text = text[:at] + b.calls[name] + text[at:]
	}
	imports := ""
	for _, i := range slices.Sorted(maps.Keys(b.more)) {
		imports += "\nimport " + i
	}
	text = text[:b.afterName] + imports + text[b.afterName:]
	for _, name := range slices.Sorted(maps.Keys(b.added)) {
		text += "\n" + b.added[name] + "\n"
	}
	return text
}

// blendMutants builds the tests of each package once, with as many sabotages as one program can hold, all off. Those that it holds get a
// number. The others, and those that are expected to be harmless, are built alone: for these, no failure tells that the sabotage was on.
func blendMutants(t *testing.T, ms []*mutant) {
	dir := t.TempDir()
	blends := map[string]*blend{}
	for i, m := range ms {
		if m.safe {
			continue
		}
		if blends[m.file] == nil {
			text, err := os.ReadFile(filepath.Join(repository, m.file))
			require.NoError(t, err)
			blends[m.file] = newBlend(parse(t, string(text)))
		}
		if blends[m.file].add(parse(t, m.apply(t)), i+1) {
			m.number, m.dir = i+1, dir
		}
	}
	replace := map[string]string{}
	put := func(file, text string) {
		path, err := filepath.Abs(filepath.Join(repository, file))
		require.NoError(t, err)
		replace[path] = filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		require.NoError(t, os.WriteFile(replace[path], []byte(text), 0o600))
	}
	for file, b := range blends {
		put(file, b.String())
		put(path.Join(path.Dir(file), "sabotage_on.go"), "package "+b.pkg+chooser)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	for _, in := range testedIn {
		(&mutant{dir: dir}).build(t, in)
	}
}

// passWithout runs the tests that caught a sabotage once more, with none on. They have to pass, so that each failure was of its sabotage.
func passWithout(t *testing.T, ms []*mutant) {
	tests, dir := map[string][]string{}, ""
	for _, m := range ms {
		if m.number == 0 || m.caught == "" {
			continue
		}
		dir = m.dir
		test, _, _ := strings.Cut(m.caught, "/")
		if !testName.MatchString("func " + test + "(") {
			test = ".*" // it ended without a name, so it may have been any
		}
		tests[m.caughtIn] = append(tests[m.caughtIn], test)
	}
	require.NotEmpty(t, dir, "no sabotage that shares a program was caught")
	for in, names := range tests {
		slices.Sort(names)
		none := &mutant{dir: dir}
		pattern := "^(" + strings.Join(slices.Compact(names), "|") + ")$"
		out, err := none.test(t, in, "-test.run", pattern, "-test.skip", notTried, "-test.timeout=5m")
		assert.NoError(t, err, "%s, without a sabotage: %s", in, out)
	}
}
