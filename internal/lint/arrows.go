package lint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// An Arrow says that the file From uses what the file To of the same package declares: a name of the package, or a method.
// At is the first use, and Name what is used there.
type Arrow struct {
	From, To string
	Name     string
	At       token.Position
}

// String says the Arrow in words, with its first use.
func (a Arrow) String() string {
	return fmt.Sprintf("%s uses %s of %s (%s:%d)", a.From, a.Name, a.To, a.From, a.At.Line)
}

// A Package is one package with its types, without its tests.
type Package struct {
	fset  *token.FileSet
	files []*ast.File
	info  types.Info
	types *types.Package
}

// Load parses and checks the types of the package in a directory. The go command compiles what it imports.
func Load(dir string) (*Package, error) {
	exports, names, err := listed(dir)
	if err != nil {
		return nil, err
	}
	p := &Package{fset: token.NewFileSet(), info: types.Info{
		Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{},
	}}
	for _, name := range names {
		file, err := parser.ParseFile(p.fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, file)
	}
	config := types.Config{Importer: importer.ForCompiler(p.fset, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := exports[path]
		if !ok || file == "" {
			return nil, fmt.Errorf("nothing compiled of %s", path)
		}
		return os.Open(file)
	})}
	p.types, err = config.Check(dir, p.fset, p.files, &p.info)
	return p, err
}

// listed asks the go command for the files of the package in dir, and where what it imports is compiled.
func listed(dir string) (exports map[string]string, names []string, err error) {
	list := exec.Command("go", "list", "-export", "-deps",
		"-f", "{{.ImportPath}}\t{{.Export}}\t{{if not .DepOnly}}{{range .GoFiles}}{{.}} {{end}}{{end}}", ".")
	list.Dir = dir
	out, err := list.Output()
	if err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			err = fmt.Errorf("go list: %w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return nil, nil, err
	}
	exports = map[string]string{}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(fields) == 3 {
			exports[fields[0]] = fields[1]
			names = append(names, strings.Fields(fields[2])...)
		}
	}
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("no package in %s", dir)
	}
	return exports, names, nil
}

// file returns the name, without its folder, of the file that declares or uses something at pos.
func (p *Package) file(pos token.Pos) string { return filepath.Base(p.fset.Position(pos).Filename) }

// Files returns the names of the package's files, sorted.
func (p *Package) Files() (names []string) {
	for _, f := range p.files {
		names = append(names, p.file(f.Package))
	}
	slices.Sort(names)
	return names
}

// origin returns what an instantiated field or method comes from.
func origin(o types.Object) types.Object {
	switch o := o.(type) {
	case *types.Func:
		return o.Origin()
	case *types.Var:
		return o.Origin()
	}
	return o
}

// A use is one place where something of the package is used.
type use struct {
	object types.Object
	at     token.Pos
}

// uses returns every use of a name of the package, a method or a field, by position.
func (p *Package) uses() (all []use) {
	for ident, object := range p.info.Uses {
		object = origin(object)
		if object.Pkg() == p.types && object.Pos().IsValid() {
			all = append(all, use{object, ident.Pos()})
		}
	}
	slices.SortFunc(all, func(a, b use) int { return cmp.Compare(a.at, b.at) })
	return all
}

// Arrows returns one Arrow for each pair of files of which the first uses the second, by the names of both. The use of a
// field makes no arrow: see [Package.Touches].
func (p *Package) Arrows() (arrows []Arrow) {
	seen := map[[2]string]bool{}
	for _, u := range p.uses() {
		method, _ := u.object.(*types.Func)
		if u.object.Parent() != p.types.Scope() && (method == nil || method.Signature().Recv() == nil) {
			continue // local, or a field
		}
		from, to := p.file(u.at), p.file(u.object.Pos())
		if pair := [2]string{from, to}; from != to && !seen[pair] {
			seen[pair] = true
			arrows = append(arrows, Arrow{from, to, objectName(u.object), p.fset.Position(u.at)})
		}
	}
	slices.SortFunc(arrows, func(a, b Arrow) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return arrows
}

// objectName is the name of a method with its type, and of all else as it is.
func objectName(o types.Object) string {
	if f, ok := o.(*types.Func); ok {
		if recv := f.Signature().Recv(); recv != nil {
			t := recv.Type()
			if pointer, ok := t.(*types.Pointer); ok {
				t = pointer.Elem()
			}
			if named, ok := t.(*types.Named); ok {
				return named.Obj().Name() + "." + f.Name()
			}
		}
	}
	return o.Name()
}

// Touches returns an Arrow for each file that uses a field of the struct type of that name, and does not declare the type.
// It is how a value keeps its fields to itself, inside of a package.
func (p *Package) Touches(typeName string) ([]Arrow, error) {
	object := p.types.Scope().Lookup(typeName)
	if object == nil {
		return nil, fmt.Errorf("there is no type %s", typeName)
	}
	structure, ok := object.Type().Underlying().(*types.Struct)
	if !ok {
		return nil, fmt.Errorf("%s is no struct", typeName)
	}
	fields := map[types.Object]bool{}
	for field := range structure.Fields() {
		fields[origin(field)] = true
	}
	home := p.file(object.Pos())
	seen := map[string]bool{}
	var touches []Arrow
	for _, u := range p.uses() {
		if from := p.file(u.at); fields[u.object] && from != home && !seen[from] {
			seen[from] = true
			touches = append(touches, Arrow{from, home, typeName + "." + u.object.Name(), p.fset.Position(u.at)})
		}
	}
	return touches, nil
}

// Back returns the arrows that run against an order of files, in which each uses only those before it. It is an error if a file of an
// arrow is not in the order.
func Back(arrows []Arrow, order []string) (back []Arrow, err error) {
	place := map[string]int{}
	for i, name := range order {
		if _, twice := place[name]; twice {
			return nil, fmt.Errorf("the order has %s twice", name)
		}
		place[name] = i
	}
	for _, a := range arrows {
		from, ok := place[a.From]
		to, ok2 := place[a.To]
		if !ok || !ok2 {
			return nil, fmt.Errorf("the order lacks a file: %s", a)
		}
		if to > from {
			back = append(back, a)
		}
	}
	return back, nil
}

// Order returns an order of files against which few arrows run: none if there is no circle. In a circle it takes, again and
// again, the file that uses the fewest of those that are left, then the one that most of them use.
func Order(files []string, arrows []Arrow) (order []string) {
	left := slices.Sorted(slices.Values(files))
	for len(left) > 0 {
		outs, ins := map[string]int{}, map[string]int{}
		for _, a := range arrows {
			if slices.Contains(left, a.From) && slices.Contains(left, a.To) {
				outs[a.From]++
				ins[a.To]++
			}
		}
		next := slices.MinFunc(left, func(a, b string) int { // the first of equals
			return cmp.Or(cmp.Compare(outs[a], outs[b]), cmp.Compare(ins[b], ins[a]))
		})
		order = append(order, next)
		left = slices.DeleteFunc(left, func(name string) bool { return name == next })
	}
	return order
}

// Circles returns the sets of files that reach each other through arrows, each of two files or more, sorted.
func Circles(files []string, arrows []Arrow) (circles [][]string) {
	next := map[string][]string{}
	for _, a := range arrows {
		next[a.From] = append(next[a.From], a.To)
	}
	reach := map[string]map[string]bool{}
	for _, f := range files {
		seen, line := map[string]bool{}, slices.Clone(next[f])
		for len(line) > 0 {
			g := line[0]
			line = line[1:]
			if !seen[g] {
				seen[g] = true
				line = append(line, next[g]...)
			}
		}
		reach[f] = seen
	}
	done := map[string]bool{}
	for _, f := range slices.Sorted(slices.Values(files)) {
		var circle []string
		for _, g := range slices.Sorted(slices.Values(files)) {
			if reach[f][g] && reach[g][f] && !done[f] {
				circle = append(circle, g)
			}
		}
		for _, g := range circle {
			done[g] = true
		}
		if len(circle) > 1 {
			circles = append(circles, circle)
		}
	}
	return circles
}
