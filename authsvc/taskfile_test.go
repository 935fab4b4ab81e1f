package main_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTheTaskfileFuzzesEverything that can be fuzzed, and nothing that is gone.
func TestTheTaskfileFuzzesEverything(t *testing.T) {
	var there []string
	function := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	err := filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range function.FindAllStringSubmatch(read(t, path), -1) {
			there = append(there, m[1]+" ./"+filepath.ToSlash(filepath.Dir(strings.TrimPrefix(path, "../"))))
		}
		return nil
	})
	if err != nil || len(there) == 0 {
		t.Fatalf("found %q, %v", there, err)
	}
	var named []string
	task := regexp.MustCompile(`-fuzz '\^(Fuzz\w+)\$' \S+ \S+ (\./\S+)`)
	for _, m := range task.FindAllStringSubmatch(read(t, "../Taskfile.yml"), -1) {
		named = append(named, m[1]+" "+m[2])
	}
	slices.Sort(there)
	slices.Sort(named)
	if !slices.Equal(there, named) {
		t.Errorf("there are\n%s\nand the Taskfile has\n%s", strings.Join(there, "\n"), strings.Join(named, "\n"))
	}
}
