package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSON into the types of the specification, and those made of them. json.Unmarshal looks
// at every type that a text could have before it reads the text, and a configuration could
// have a hundred, of which it has a dozen. So here structures and lists are followed from
// what the text has. Package json says whether it is JSON at all, and reads the values.

// Decode reads the JSON text into what v points to. Fields that v does not have are
// ignored; an error says at which line.
func Decode(text []byte, v any) error {
	if !json.Valid(text) {
		return notJSON(text)
	}
	d := decoder{text: text}
	err := d.value(reflect.ValueOf(v).Elem())
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		err = fmt.Errorf("%q is a %s, want %s", kind.Field, kind.Value, kind.Type)
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", d.line(), err)
	}
	return nil
}

// notJSON says at which line a text is none.
func notJSON(text []byte) error {
	err := json.Unmarshal(text, &json.RawMessage{})
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	d := decoder{text: text, at: min(int(syntax.Offset), len(text))}
	if json.NewDecoder(bytes.NewReader(text)).Decode(&json.RawMessage{}) == nil {
		return fmt.Errorf("line %d: there is more behind the end", d.line())
	}
	return fmt.Errorf("line %d: %w", d.line(), err)
}

// A decoder is at a place in a text that is JSON.
type decoder struct {
	text []byte
	at   int
}

// line is the number of the line.
func (d *decoder) line() int { return 1 + bytes.Count(d.text[:d.at], []byte("\n")) }

// next goes to the next value, key or closing bracket, and returns its first byte.
func (d *decoder) next() byte {
	for {
		switch c := d.text[d.at]; c {
		case ' ', '\t', '\r', '\n', ':', ',':
			d.at++
		default:
			return c
		}
	}
}

// raw goes behind the next value or key, and returns it as it is in the text.
func (d *decoder) raw() []byte {
	first, start := d.next(), d.at
	switch first {
	case '"':
		d.skipString()
	case '{', '[':
		d.skipNested()
	default: // a number or a word
		for d.at < len(d.text) && strings.IndexByte(" \t\r\n,]}", d.text[d.at]) < 0 {
			d.at++
		}
	}
	return d.text[start:d.at]
}

func (d *decoder) skipString() {
	for d.at++; d.text[d.at] != '"'; d.at++ {
		if d.text[d.at] == '\\' {
			d.at++
		}
	}
	d.at++
}

func (d *decoder) skipNested() {
	for depth := 0; ; {
		switch d.text[d.at] {
		case '"':
			d.skipString()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if d.at++; depth == 0 {
			return
		}
	}
}

// string reads a text or a key.
func (d *decoder) string() (string, error) {
	raw := d.raw()
	if raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw[1 : len(raw)-1]), nil
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err
}

// value reads the next value into v.
func (d *decoder) value(v reflect.Value) error {
	first := d.next()
	for first == '{' && v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	if _, readsItself := v.Addr().Interface().(json.Unmarshaler); readsItself { // as a time.Time does
		return json.Unmarshal(d.raw(), v.Addr().Interface())
	}
	switch kind := v.Kind(); {
	case first == '{' && kind == reflect.Struct:
		return d.object(v)
	case first == '[' && kind == reflect.Slice:
		return d.array(v)
	case first == '{' && v.Type() == reflect.TypeFor[map[string]string]():
		return d.texts(v)
	case first == '"' && kind == reflect.String:
		text, err := d.string()
		v.SetString(text)
		return err
	}
	raw := d.raw()
	switch first {
	case 't', 'f':
		if v.Kind() == reflect.Bool {
			v.SetBool(first == 't')
			return nil
		}
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		if n, err := strconv.ParseUint(string(raw), 10, 63); err == nil && v.CanInt() && !v.OverflowInt(int64(n)) {
			v.SetInt(int64(n))
			return nil
		} else if err == nil && v.CanUint() && !v.OverflowUint(n) {
			v.SetUint(n)
			return nil
		}
	}
	return json.Unmarshal(raw, v.Addr().Interface())
}

// within adds to an error in which field it is.
func within(name string, err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		kind.Field = strings.TrimSuffix(name+"."+kind.Field, ".")
	}
	return err
}

// texts reads texts by their names: annotations, paths.
func (d *decoder) texts(v reflect.Value) error {
	if v.IsNil() {
		v.Set(reflect.ValueOf(map[string]string{}))
	}
	all := v.Interface().(map[string]string)
	for d.at++; d.next() != '}'; {
		name, err := d.string()
		if err != nil {
			return err
		}
		if all[name], err = d.string(); err != nil {
			return within(name, err)
		}
	}
	d.at++
	return nil
}

func (d *decoder) object(v reflect.Value) error {
	d.at++
	for i := 0; d.next() != '}'; i++ {
		key, err := d.string()
		if err != nil {
			return err
		}
		field, at := fieldOf(v, key, i)
		if i = at; !field.IsValid() {
			d.raw()
		} else if err := d.value(field); err != nil {
			return within(key, err)
		}
	}
	d.at++
	return nil
}

func (d *decoder) array(v reflect.Value) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for d.at++; d.next() != ']'; {
		element := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(element); err != nil {
			return err
		}
		v.Set(reflect.Append(v, element))
	}
	d.at++
	return nil
}

// fieldOf is the field of the structure v that has this name in JSON, and its number;
// capitals make no difference, as for encoding/json. Those for other platforms than Linux are
// none; those of an embedded structure are v's. Most texts have them in order, so that the
// search begins at one that is likely.
func fieldOf(v reflect.Value, key string, likely int) (field reflect.Value, number int) {
	var name string
	number = likely
	for n := range v.NumField() {
		i := (likely + n) % v.NumField()
		of := v.Type().Field(i)
		if of.Anonymous {
			if inner, _ := fieldOf(v.Field(i), key, 0); inner.IsValid() {
				return inner, i - 1 // there may be more in it
			}
			continue
		}
		if name = nameOf(of.Tag); name == "-" || !strings.EqualFold(name, key) { // "-": it has none
			continue
		}
		switch platforms := of.Tag.Get("platform"); {
		case platforms != "" && !slices.Contains(strings.Split(platforms, ","), "linux"):
		case name == key:
			return v.Field(i), i
		default:
			field, number = v.Field(i), i
		}
	}
	return field, number
}

// nameOf is a field's name in JSON. In most tags it comes first, and nothing in it is quoted.
func nameOf(tag reflect.StructTag) string {
	text, found := strings.CutPrefix(string(tag), `json:"`)
	if !found {
		text = tag.Get("json")
	}
	if end := strings.IndexAny(text, `,"`); end >= 0 {
		return text[:end]
	}
	return text
}
