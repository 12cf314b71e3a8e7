package lint

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// maxWords is how long a sentence of a documentation comment or a page may be.
const maxWords = 30

// Sentences splits prose into sentences. Blocks of code, as gofmt and Markdown indent them, are left out. Each item of a list and
// each cell of a table is a text of its own.
func Sentences(prose string) (sentences []string) {
	for _, paragraph := range paragraphs(prose) {
		start := 0
		for _, end := range sentenceEnd.FindAllStringIndex(paragraph, -1) {
			sentences = append(sentences, strings.TrimSpace(paragraph[start:end[0]+1]))
			start = end[1] - 1 // the first letter of the next
		}
		if last := strings.TrimSpace(paragraph[start:]); last != "" {
			sentences = append(sentences, last)
		}
	}
	return sentences
}

var (
	// sentenceEnd is a mark at an end, perhaps a closing bracket or quote, white space, and the beginning of another sentence. Some scripts, as
	// Korean, have no capital letters.
	sentenceEnd = regexp.MustCompile("[.!?][)\"*_`]*\\s+(?:[\"(*_]*[\\p{Lu}\\p{Lo}\\p{N}]|[\"(*_]*[`\\[])")
	listItem    = regexp.MustCompile(`^\s*(?:[-*+]|\d+[.)])\s+`)
	markup      = regexp.MustCompile("<[^>]*>|\\]\\([^)]*\\)|[*`\\[\\]]")
)

func paragraphs(prose string) (all []string) {
	var current strings.Builder
	flush := func() {
		if text := strings.TrimSpace(current.String()); text != "" {
			all = append(all, text)
		}
		current.Reset()
	}
	fenced := false
	for line := range strings.Lines(prose) {
		text := strings.TrimSpace(line)
		code := strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "    ")
		switch {
		case strings.HasPrefix(text, "```"):
			fenced = !fenced
			flush()
		case fenced || text == "" || strings.HasPrefix(text, "#"):
			flush()
		case listItem.MatchString(line):
			flush()
			current.WriteString(strings.TrimSpace(listItem.ReplaceAllString(line, "")))
		case strings.HasPrefix(text, "|"):
			flush()
			for cell := range strings.SplitSeq(text, "|") {
				current.WriteString(cell)
				flush()
			}
		case code && current.Len() == 0: // not what goes on with an item of a list
		default:
			current.WriteString(" " + text)
		}
	}
	flush()
	return all
}

// Words counts the words of a sentence that have a letter or a digit. Markup of links does not count.
func Words(sentence string) (n int) {
	for word := range strings.FieldsSeq(markup.ReplaceAllString(sentence, " ")) {
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			n++
		}
	}
	return n
}

// opening finds a clause whose subject is "who", "what" or "whose": at the beginning of a sentence, after a mark, or after a
// conjunction that follows a comma. "A server, who …" goes on with a noun, and is none.
var opening = regexp.MustCompile(`(?:^|[:;]\s|[—(]\s?|,\s(?:and|but|or|so|as|for|that|then)\s)["*_]*(?i:who|what|whose)\s`)

// Openings counts the clauses of a sentence that open with "who", "what" or "whose". A question has none.
func Openings(sentence string) int {
	if strings.HasSuffix(strings.TrimRight(sentence, `)"*_`), "?") {
		return 0
	}
	return len(opening.FindAllString(sentence, -1))
}

// comments returns every comment of a file, and of those the texts that documentation shows: of the package, and of
// exported declarations and their fields.
func (f goFile) comments() (all, exported []string) {
	for _, group := range f.ast.Comments {
		all = append(all, group.Text())
	}
	if f.isTest() {
		return all, nil
	}
	document := func(groups ...*ast.CommentGroup) {
		for _, group := range groups {
			if group != nil {
				exported = append(exported, group.Text())
			}
		}
	}
	document(f.ast.Doc)
	for _, decl := range f.ast.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Name.IsExported() && (decl.Recv == nil || ast.IsExported(receiver(decl))) {
				document(decl.Doc)
			}
		case *ast.GenDecl:
			for i, spec := range decl.Specs {
				documentSpec(decl, spec, i == 0, document)
			}
		}
	}
	return all, exported
}

// documentSpec gives the comments of one constant, variable or type to document, if it is exported. The comment of the whole
// declaration comes with the first.
func documentSpec(decl *ast.GenDecl, spec ast.Spec, first bool, document func(...*ast.CommentGroup)) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		if !spec.Names[0].IsExported() {
			return
		}
		document(spec.Doc, spec.Comment)
	case *ast.TypeSpec:
		if !spec.Name.IsExported() {
			return
		}
		document(spec.Doc, spec.Comment)
		var members *ast.FieldList
		switch t := spec.Type.(type) {
		case *ast.StructType:
			members = t.Fields
		case *ast.InterfaceType:
			members = t.Methods
		}
		if members != nil {
			for _, m := range members.List {
				if len(m.Names) == 0 || m.Names[0].IsExported() {
					document(m.Doc, m.Comment)
				}
			}
		}
	}
	if first && decl.Tok != token.IMPORT {
		document(decl.Doc)
	}
}

// undocumented returns the exported names of a file that have no comment. For a type in a group, the comment of the group is not enough. A
// test documents nothing.
func (f goFile) undocumented() (names []*ast.Ident) {
	if f.isTest() {
		return nil
	}
	need := func(name *ast.Ident, comments ...*ast.CommentGroup) {
		if name.IsExported() && !slices.ContainsFunc(comments, func(c *ast.CommentGroup) bool { return c.Text() != "" }) {
			names = append(names, name)
		}
	}
	for _, decl := range f.ast.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil || ast.IsExported(receiver(decl)) {
				need(decl.Name, decl.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if decl.Lparen.IsValid() {
						need(spec.Name, spec.Doc)
					} else {
						need(spec.Name, decl.Doc)
					}
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						need(name, decl.Doc, spec.Doc, spec.Comment)
					}
				}
			}
		}
	}
	return names
}

// receiver returns the name of a method's type.
func receiver(decl *ast.FuncDecl) string {
	t := decl.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}
