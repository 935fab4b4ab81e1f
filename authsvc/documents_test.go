package main_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	readme = "../README.md"
	guide  = "../docs/answers.md"
)

// documents are all that the repository holds, so that none is left out.
func documents(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "..", d.IsDir() && d.Name() == "node_modules":
			return fs.SkipDir
		case strings.EqualFold(filepath.Ext(path), ".md"):
			found = append(found, path)
		}
		return nil
	})
	if err != nil || !slices.Contains(found, readme) || !slices.Contains(found, guide) {
		t.Fatalf("the documents are %q, %v", found, err)
	}
	return found
}

// block is a fenced block of a document.
type block struct{ language, text string }

// blocks returns the blocks of a document. One in a language that no test runs is an
// error, and so is one that does not end: nothing is passed over in silence.
func blocks(t *testing.T, name string) []block {
	t.Helper()
	found, _, problems := fenced(read(t, name))
	for _, problem := range problems {
		t.Errorf("%s: %s", name, problem)
	}
	for _, b := range found {
		if b.language == "go" && name != readme && name != guide {
			t.Errorf("%s: no test compiles its Go", name)
		}
	}
	return found
}

// fenced splits a document into its blocks and the rest.
func fenced(text string) (found []block, rest string, problems []string) {
	var outside strings.Builder
	open := false
	for line := range strings.Lines(text) {
		language, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "~~~"), isFence && !strings.HasPrefix(line, "```"):
			problems = append(problems, "a block that no test finds: "+strings.TrimSpace(line))
		case isFence && open:
			open = false
		case isFence:
			if open = true; language != "sh" && language != "go" {
				problems = append(problems, "no test runs a block of "+strings.TrimSpace(line))
			}
			found = append(found, block{language: language})
		case open:
			found[len(found)-1].text += line
		case strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t"):
			problems = append(problems, "an indented block, which no test runs: "+strings.TrimSpace(line))
		default:
			outside.WriteString(line)
		}
	}
	if open {
		problems = append(problems, "a block does not end")
	}
	return found, outside.String(), problems
}

// inlineCommands returns what stands in the text between backticks and begins with a
// word in small letters, or a path, and a space: a command, whatever its name.
func inlineCommands(t *testing.T, name string) []string {
	t.Helper()
	_, text, _ := fenced(read(t, name))
	var found []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		span := strings.Join(strings.Fields(m[1]), " ")
		if regexp.MustCompile(`^([a-z][a-z0-9_-]*|\.{0,2}/\S+) `).MatchString(span) {
			found = append(found, span)
		}
	}
	return found
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFenced: no way of writing a block gets past the tests of the documents.
func TestFenced(t *testing.T) {
	const good = "a `b`\n```sh\nls\n```\nc\n```go\nx := 1\n```\n"
	found, rest, problems := fenced(good)
	if want := []block{{"sh", "ls\n"}, {"go", "x := 1\n"}}; !slices.Equal(found, want) || rest != "a `b`\nc\n" || problems != nil {
		t.Errorf("got %q, %q, %q", found, rest, problems)
	}
	for _, bad := range []string{
		"```bash\nls\n```\n", "```\nls\n```\n", "```sh \nls\n", "~~~sh\nls\n~~~\n", "  ```sh\n  ls\n  ```\n",
		"```console\n$ ls\n```\n", "```sh\nls\n", "text\n\n    ls\n",
	} {
		if _, _, problems := fenced(bad); len(problems) == 0 {
			t.Errorf("%q passes", bad)
		}
	}
}
