package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

// JSON into the types of the specification, and those made of them. json.Unmarshal looks at every type that
// a text could have before it reads the text, and a configuration could have a
// hundred, of which it has a dozen. So here
// structures are followed from what the text has, and json.Decoder gets the values.

// Decode reads the JSON text into what v points to. Fields that v does not have are
// ignored; an error says at which line.
func Decode(text []byte, v any) error {
	d := decoder{json: json.NewDecoder(bytes.NewReader(text)), text: text}
	if err := d.value(reflect.ValueOf(v).Elem(), ""); err != nil {
		return d.describe(err)
	}
	if _, err := d.json.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("line %d: there is more behind the end", lineOf(text, d.json.InputOffset()))
	}
	return nil
}

type decoder struct {
	json *json.Decoder
	text []byte
}

// value reads the next value into v; path is its name in the text.
func (d *decoder) value(v reflect.Value, path string) error {
	for kind := v.Kind(); ; kind = v.Kind() {
		switch {
		case kind == reflect.Struct && !readsItself(v):
			return d.object(v, path)
		case kind == reflect.Slice && isStruct(v.Type().Elem()):
			return d.array(v, path)
		case kind != reflect.Pointer || !isStruct(v.Type()):
			return d.plain(v, path)
		case d.next() == 'n': // null
			return d.plain(v, path)
		case v.IsNil():
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
}

// readsItself tells whether v knows its JSON, as a time.Time does.
func readsItself(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(json.Unmarshaler)
	return ok
}

// isStruct tells whether t is a structure, or a pointer to one.
func isStruct(t reflect.Type) bool {
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct
}

// next is the first byte of the next value.
func (d *decoder) next() byte {
	rest := bytes.TrimLeft(d.text[d.json.InputOffset():], " \t\r\n:,")
	if len(rest) == 0 {
		return 0
	}
	return rest[0]
}

// open reads the bracket that a value of v's type begins with. null is none.
func (d *decoder) open(bracket json.Delim, v reflect.Value, path string) (opened bool, err error) {
	if first := d.next(); first != byte(bracket) && first != 0 {
		return false, d.plain(v, path) // null, or an error that says what there is
	}
	_, err = d.json.Token()
	return err == nil, err
}

func (d *decoder) object(v reflect.Value, path string) error {
	opened, err := d.open('{', v, path)
	if err != nil || !opened {
		return err
	}
	for d.json.More() {
		token, err := d.json.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string) // an object has no other keys
		field, ok := fieldOf(v, key)
		if !ok {
			field = reflect.New(reflect.TypeFor[json.RawMessage]()).Elem()
		}
		if err := d.value(field, strings.TrimPrefix(path+"."+key, ".")); err != nil {
			return err
		}
	}
	_, err = d.json.Token()
	return err
}

func (d *decoder) array(v reflect.Value, path string) error {
	opened, err := d.open('[', v, path)
	if err != nil || !opened {
		return err
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for d.json.More() {
		element := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(element, path); err != nil {
			return err
		}
		v.Set(reflect.Append(v, element))
	}
	_, err = d.json.Token()
	return err
}

// plain reads what encoding/json reads as well.
func (d *decoder) plain(v reflect.Value, path string) error {
	err := d.json.Decode(v.Addr().Interface())
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		kind.Field = strings.Trim(path+"."+kind.Field, ".")
		kind.Offset = d.json.InputOffset()
	}
	return err
}

// fieldOf is the field of the structure v that has this name in JSON; capitals make
// no difference, as for encoding/json. Those for other platforms than Linux are none;
// those of an embedded structure are v's.
func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	fold := reflect.Value{}
	for i := range v.NumField() {
		if v.Type().Field(i).Anonymous {
			if field, ok := fieldOf(v.Field(i), key); ok {
				return field, true
			}
			continue
		}
		tag := v.Type().Field(i).Tag
		name, _, _ := strings.Cut(tag.Get("json"), ",")
		platforms := tag.Get("platform")
		switch {
		case !strings.EqualFold(name, key):
		case platforms != "" && !slices.Contains(strings.Split(platforms, ","), "linux"):
		case name == key:
			return v.Field(i), true
		default:
			fold = v.Field(i)
		}
	}
	return fold, fold.IsValid()
}

// describe says at which line a text is no JSON, or of the wrong type.
func (d *decoder) describe(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("line %d: %q is a %s, want %s", lineOf(d.text, kind.Offset), kind.Field, kind.Value, kind.Type)
	}
	var syntax *json.SyntaxError
	if whole := json.Unmarshal(d.text, &json.RawMessage{}); errors.As(whole, &syntax) {
		return fmt.Errorf("line %d: %w", lineOf(d.text, syntax.Offset), whole)
	}
	return err
}

// lineOf is the number of the line that holds the byte at offset.
func lineOf(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n"))
}
