package routes

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder turns YAML into structs, strictly, and remembers the line of every
// field for those who judge the values later. It goes on after a mistake, so that
// all are found at once.
type decoder struct {
	source
	mistakes []mistake
}

// mistake is one thing that is wrong with the file.
type mistake struct {
	line       int
	path, text string
}

// defaulter is a struct that has other defaults than zeros.
type defaulter interface{ setDefaults() }

func (d *decoder) wrong(line int, path, format string, args ...any) {
	d.mistakes = append(d.mistakes, mistake{line, path, fmt.Sprintf(format, args...)})
}

// decode sets v from the node. path is the field's name for people: rules[0].path.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string) {
	d.lines[path] = n.Line
	if v.Kind() == reflect.Pointer { // never left nil, so that whatever is wrong can be checked on
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.wrong(n.Line, path, "must not use anchors or aliases")
		return
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.wrong(n.Line, path, "must not use tags")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.decodeStruct(n, v, path)
	case reflect.Map:
		d.decodeMap(n, v, path)
	case reflect.Slice:
		d.decodeList(n, v, path)
	default:
		d.decodeScalar(n, v, path)
	}
}

// members calls member for every name of a mapping that is there once.
func (d *decoder) members(n *yaml.Node, path string, member func(key *yaml.Node, path string, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n.Line, path, "must be a mapping")
		return
	}
	first := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 {
			d.wrong(key.Line, path, "has a name that is no plain text")
			continue
		}
		at := join(path, key.Value)
		if line, seen := first[key.Value]; seen {
			d.wrong(key.Line, at, "is there already, on line %d", line)
			continue
		}
		first[key.Value] = key.Line
		member(key, at, value)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (d *decoder) decodeStruct(n *yaml.Node, v reflect.Value, path string) {
	if def, ok := reflect.TypeAssert[defaulter](v.Addr()); ok {
		def.setDefaults()
	}
	d.members(n, path, func(key *yaml.Node, at string, value *yaml.Node) {
		for i := range v.NumField() {
			if tag := v.Type().Field(i).Tag.Get("yaml"); tag == key.Value && tag != "" && tag != "-" {
				d.decode(value, v.Field(i), at)
				d.lines[at] = key.Line
				return
			}
		}
		d.wrong(key.Line, at, "is not a field of the format")
	})
}

func (d *decoder) decodeMap(n *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	d.members(n, path, func(key *yaml.Node, _ string, value *yaml.Node) {
		elem, at := reflect.New(v.Type().Elem()).Elem(), fmt.Sprintf("%s[%s]", path, key.Value)
		d.decode(value, elem, at)
		d.lines[at] = key.Line
		v.SetMapIndex(reflect.ValueOf(key.Value), elem)
	})
}

func (d *decoder) decodeList(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.wrong(n.Line, path, "must be a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.decode(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

func (d *decoder) decodeScalar(n *yaml.Node, v reflect.Value, path string) {
	want, ok := "", false
	switch field := v.Addr().Interface().(type) {
	case *string:
		want, ok = "text", n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str"
		*field = n.Value
	case *bool:
		want, ok = "true or false", n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool"
		*field = strings.EqualFold(n.Value, "true")
	case *int:
		var err error
		*field, err = strconv.Atoi(n.Value)
		want, ok = "a whole number", n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" && err == nil
	case *time.Duration:
		var err error
		*field, err = time.ParseDuration(n.Value)
		want, ok = "a duration like 250ms, 5s or 2m", n.Kind == yaml.ScalarNode && err == nil && n.Value != "0"
	case *Size:
		*field, ok = parseSize(n.Value)
		want, ok = "a size like 4096, 64KiB or 1MiB", ok && n.Kind == yaml.ScalarNode
	default:
		panic("routes: no rule to read a " + v.Type().String())
	}
	if !ok {
		d.wrong(n.Line, path, "must be %s", want)
		v.SetZero()
	}
}

// parseSize reads a number of bytes, with or without a binary unit.
func parseSize(text string) (Size, bool) {
	factor := int64(1)
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if number, found := strings.CutSuffix(text, unit); found {
			text, factor = number, 1<<(10*(i+1))
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, false
	}
	return Size(n * factor), true
}
