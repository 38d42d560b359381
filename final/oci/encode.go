package oci

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// JSON from the types of the specification, and those made of them, as json.MarshalIndent
// writes it. That, too, looks at every type that a value could have inside, see Decode; here
// the value is followed, and package json writes what is not plain.

// Encode writes v as JSON that people can read. v consists of structures, whose fields all
// have a tag, pointers, lists, maps of texts, texts, numbers, and what encodes itself; the
// only option of a tag that it knows is omitempty.
func Encode(v any) ([]byte, error) {
	text, err := appendValue(nil, reflect.ValueOf(v))
	if err != nil {
		return nil, err
	}
	var indented bytes.Buffer
	indented.Grow(2 * len(text))
	err = json.Indent(&indented, text, "", "  ")
	return append(indented.Bytes(), '\n'), err
}

func appendValue(text []byte, v reflect.Value) ([]byte, error) {
	_, writesItself := v.Interface().(json.Marshaler) // as a time.Time does
	switch kind := v.Kind(); {
	case writesItself:
	case kind == reflect.Struct:
		text, _, err := appendFields(append(text, '{'), v, 0)
		return append(text, '}'), err
	case kind == reflect.Pointer && !v.IsNil():
		return appendValue(text, v.Elem())
	case kind == reflect.Slice && !v.IsNil() && v.Type().Elem().Kind() != reflect.Uint8:
		return appendList(text, v)
	case kind == reflect.String && isPlain(v.String()):
		return append(append(append(text, '"'), v.String()...), '"'), nil
	case v.CanInt():
		return strconv.AppendInt(text, v.Int(), 10), nil
	case v.Type() == reflect.TypeFor[map[string]string]() && !v.IsNil():
		return appendTexts(text, v.Interface().(map[string]string))
	}
	other, err := json.Marshal(v.Interface())
	return append(text, other...), err
}

// isPlain tells whether a text is in JSON as it is. Package json also escapes what HTML is
// made of.
func isPlain(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"\<>&`, r) }) < 0
}

// appendFields adds the fields of a structure, and those of the structures that it embeds. n
// is how many there are before.
func appendFields(text []byte, v reflect.Value, n int) ([]byte, int, error) {
	var err error
	for i := 0; i < v.NumField() && err == nil; i++ {
		field, value := v.Type().Field(i), v.Field(i)
		if field.Anonymous {
			text, n, err = appendFields(text, value, n)
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		empty := value.IsZero() || (value.Kind() == reflect.Slice || value.Kind() == reflect.Map) && value.Len() == 0
		if name == "-" || empty && options == "omitempty" && value.Kind() != reflect.Struct {
			continue
		}
		if n++; n > 1 {
			text = append(text, ',')
		}
		text, err = appendValue(append(append(append(text, '"'), name...), `":`...), value)
	}
	return text, n, err
}

func appendList(text []byte, v reflect.Value) ([]byte, error) {
	text = append(text, '[')
	var err error
	for i := 0; i < v.Len() && err == nil; i++ {
		if i > 0 {
			text = append(text, ',')
		}
		text, err = appendValue(text, v.Index(i))
	}
	return append(text, ']'), err
}

func appendTexts(text []byte, all map[string]string) ([]byte, error) {
	text = append(text, '{')
	var err error
	for i, name := range slices.Sorted(maps.Keys(all)) {
		if i > 0 {
			text = append(text, ',')
		}
		if text, err = appendValue(text, reflect.ValueOf(name)); err != nil {
			return nil, err
		}
		if text, err = appendValue(append(text, ':'), reflect.ValueOf(all[name])); err != nil {
			return nil, err
		}
	}
	return append(text, '}'), nil
}
