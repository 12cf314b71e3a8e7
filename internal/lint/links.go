package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The pages whose anchors code, tests and other pages cite by number.
const (
	designPage   = "docs/design.md"   // cited as docs/design.md#4.1
	sourcePage   = "docs/source.md"   // S1 to S15
	pitfallsPage = "docs/pitfalls.md" // P1 to P30
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	anchorID     = regexp.MustCompile(`<a id="([^"]+)">`)
	heading      = regexp.MustCompile(`(?m)^#+\s+(.*)$`)
	notInSlug    = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	pagePath     = regexp.MustCompile(`\bdocs/[\w/-]+\.md(?:#[\w.-]*\w)?`)
	sectionCited = regexp.MustCompile(`\b(?:DESIGN|FAULTS) \d+(?:\.\d+)?`)
	rowCited     = regexp.MustCompile(`\b([SP])([1-9]\d?)\b`)
	testNamed    = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark|Example)[A-Z0-9]\w*`)
	fileNamed    = regexp.MustCompile(`(?:[\w*-]+/)*[\w*-]+\.(?:go|txt)\b`)
)

// Links returns what leads nowhere: links between pages and to their headings, and tests and files that pages name. Pages and numbers that
// code cites are others, in comments and in string literals.
func (t *Tree) Links() (wrong []string) {
	anchors := t.anchors()
	functions := t.functions()
	for _, p := range t.pages {
		for _, link := range markdownLink.FindAllStringSubmatch(p.text, -1) {
			if broken := t.broken(p.path, link[1], anchors); broken != "" {
				wrong = append(wrong, fmt.Sprintf("%s links to %s: %s", p.path, link[1], broken))
			}
		}
		for _, name := range testNamed.FindAllString(p.text, -1) {
			if !functions[name] {
				wrong = append(wrong, fmt.Sprintf("%s names %s, which is no function", p.path, name))
			}
		}
		for _, name := range fileNamed.FindAllString(p.text, -1) {
			if !t.hasFile(path.Dir(p.path), name) {
				wrong = append(wrong, fmt.Sprintf("%s names %s, which is no file", p.path, name))
			}
		}
		wrong = append(wrong, cited(p.path, p.text, anchors)...)
	}
	for _, p := range t.other {
		wrong = append(wrong, cited(p.path, p.text, anchors)...)
	}
	for _, f := range t.files {
		if strings.HasPrefix(f.path, "internal/lint/") {
			continue // its own examples
		}
		for _, comment := range f.ast.Comments {
			wrong = append(wrong, cited(f.path, comment.Text(), anchors)...)
		}
		for _, text := range f.literals() {
			wrong = append(wrong, citedRows(f.path, text, anchors)...)
		}
	}
	slices.Sort(wrong)
	return slices.Compact(wrong)
}

// literals returns the values of all string literals of a file: names of tests cite rows, as in "P9: a promise reports the vote".
func (f goFile) literals() (all []string) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				all = append(all, text)
			}
		}
		return true
	})
	return all
}

// anchors returns what a link can lead to in each page: "docs/a.md#b", and "docs/a.md" itself.
func (t *Tree) anchors() map[string]bool {
	all := map[string]bool{}
	for _, p := range t.pages {
		all[p.path] = true
		for _, id := range anchorID.FindAllStringSubmatch(p.text, -1) {
			all[p.path+"#"+id[1]] = true
		}
		for _, title := range heading.FindAllStringSubmatch(p.text, -1) {
			all[p.path+"#"+slug(title[1])] = true
		}
	}
	return all
}

// slug is how the usual viewers name a heading in a link.
func slug(title string) string {
	return strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

// functions returns the names of all functions, of which the tests are some.
func (t *Tree) functions() map[string]bool {
	all := map[string]bool{}
	for _, f := range t.files {
		for _, decl := range f.ast.Decls {
			if function, ok := decl.(*ast.FuncDecl); ok {
				all[function.Name.Name] = true
			}
		}
	}
	return all
}

// broken says what is wrong with a link of a page; empty: nothing.
func (t *Tree) broken(from, link string, anchors map[string]bool) string {
	if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
		return ""
	}
	file, anchor, hasAnchor := strings.Cut(link, "#")
	target := path.Join(path.Dir(from), file)
	if file == "" {
		target = from
	}
	if !slices.ContainsFunc(t.names, func(name string) bool { return name == target || strings.HasPrefix(name, target+"/") }) {
		return "there is no such file"
	}
	if hasAnchor && !anchors[target+"#"+anchor] {
		return "there is no such place in it"
	}
	return ""
}

// hasFile reports whether the tree has a file that ends with the path name, in which * may stand for part of a name.
func (t *Tree) hasFile(from, name string) bool {
	depth := strings.Count(name, "/") + 1
	return slices.ContainsFunc(t.names, func(file string) bool {
		parts := strings.Split(file, "/")
		ok, err := path.Match(name, strings.Join(parts[max(0, len(parts)-depth):], "/"))
		return err == nil && ok
	}) || slices.Contains(t.names, path.Join(from, name))
}

// cited returns what a text cites that does not exist: pages, sections of the design, rows of the source and the pitfalls.
func cited(from, text string, anchors map[string]bool) (wrong []string) {
	need := func(what, target string) {
		if !anchors[target] {
			wrong = append(wrong, fmt.Sprintf("%s cites %s, and there is no %s", from, what, target))
		}
	}
	for _, target := range pagePath.FindAllString(text, -1) {
		need(target, target)
	}
	for _, c := range sectionCited.FindAllString(text, -1) {
		wrong = append(wrong, fmt.Sprintf("%s cites %s: a section of the design is cited as %s#4.1", from, c, designPage))
	}
	return append(wrong, citedRows(from, text, anchors)...)
}

// citedRows returns the rows of the source and the pitfalls that a text cites and that do not exist.
func citedRows(from, text string, anchors map[string]bool) (wrong []string) {
	for _, c := range rowCited.FindAllStringSubmatch(text, -1) {
		if page := map[string]string{"S": sourcePage, "P": pitfallsPage}[c[1]]; !anchors[page+"#"+c[0]] {
			wrong = append(wrong, fmt.Sprintf("%s cites %s, and there is no %s#%s", from, c[0], page, c[0]))
		}
	}
	return wrong
}
