package quickjson

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// everything has a field of each kind that the types of this tree have.
type everything struct {
	Name   string `json:"name"`
	Flag   bool   `json:"flag,omitempty"`
	Small  int8   `json:"small"`
	Port   uint16 `json:"port,omitempty"`
	Big    int64
	Bigger uint64 `json:"bigger,omitempty"`
	embedded
	Words   []string           `json:"words,omitempty"`
	Lists   [][]int            `json:"lists"`
	Objects []embedded         `json:"objects,omitempty"`
	Pointer *embedded          `json:"pointer,omitempty"`
	Number  *int               `json:"number"`
	Flags   []*bool            `json:"flags"`
	Prefix  netip.Prefix       `json:"prefix"`
	Addr    netip.Addr         `json:"addr,omitzero"`
	Addrs   []netip.AddrPort   `json:"addrs"`
	Raw     json.RawMessage    `json:"raw,omitempty"`
	Own     own                `json:"own"`
	Zero    zero               `json:"zero,omitzero"`
	When    time.Time          `json:"when"`
	Inner   struct{ A, B int } `json:"cni.dev/inner"`
	Table   map[string][]int   `json:"table,omitempty"`
	Nothing *string            `json:"-"`
	hidden  string
}

type embedded struct {
	Inside string `json:"inside,omitempty"`
	Depth  uint8  `json:"depth"`
}

// own decodes and encodes itself, in its own way.
type own struct{ raw string }

func (o *own) UnmarshalJSON(data []byte) error { o.raw = string(data); return nil }
func (o own) MarshalJSON() ([]byte, error) {
	if o.raw == "" {
		return []byte("{ }"), nil
	}
	return []byte(o.raw), nil
}

// zero is zero by its own account.
type zero struct{ N int }

func (z zero) IsZero() bool { return z.N == 7 }

// oddities are types that are left to encoding/json.
type oddities struct {
	Map     map[string][]string `json:"map"`
	Any     any                 `json:"any"`
	Float   float64             `json:"float"`
	Bytes   []byte              `json:"bytes"`
	Array   [2]int              `json:"array"`
	Quoted  int                 `json:"quoted,string"`
	Literal json.Number         `json:"literal"`
}

// twins hide one another.
type twins struct {
	Twin string `json:"twin"`
	TWIN string
}

func targets() []func() any {
	return []func() any{
		func() any { return new(everything) },
		func() any {
			return &everything{Name: "default", Words: []string{"a", "b"}, Port: 7, Table: map[string][]int{"a": {9}}, Pointer: &embedded{Depth: 3}}
		},
		func() any { return new(oddities) }, func() any { return new(twins) },
		func() any { return new([]string) }, func() any { return new(string) }, func() any { return new(int) },
		func() any { return new(*embedded) }, func() any { return new(any) }, func() any { return new(own) },
	}
}

func documents() []string {
	return []string{
		`{"name":"a","flag":true,"small":-128,"port":65535,"Big":123456789012345678,"bigger":1,"inside":"x","depth":255}`,
		`{"NAME":"a","Flag":false,"words":["a","b"],"table":{"b":[1],"a":[],"":[2]},"lists":[[1,2],[],[3]],"objects":[{"inside":"a"},{"depth":1}]}`,
		`{"pointer":{"inside":"p"},"number":5,"flags":[true,false],"prefix":"10.0.0.0/8","addr":"::1","addrs":["1.2.3.4:5"]}`,
		` { "raw" : { "a" : [ 1 , "\u00e9\"\\" , null ] } , "own" : [ true ] , "zero":{"N":7}, "when":"2026-11-26T22:00:00.5Z","cni.dev/inner":{"a":1,"B":2} } `,
		`{"unknown":{"a":[1.5e+3,-0,0.1E-2,"\\\"\b\f\n\r\t\/\u1234"]},"other":null,"t":true,"f":false,"nested":[[[[]]]],"empty":{}}`,
		`{"table":{}}`, `{"table":{"a":[1],"a":[2]}}`, `{"table":{"a":null}}`, `{"table":null}`, `{"table":{"a":"x"}}`, `{"table":{"\u0061":[1]}}`, `{"table":[1]}`, `{"table":{"a":[1],}}`,
		`{"name":null}`, `{"name":1}`, `{"small":128}`, `{"port":-1}`, `{"port":1.0}`, `{"port":1e2}`, `{"big":9223372036854775808}`,
		`{"name":"a","name":"b"}`, `{"name":"a","Name":"b"}`, `{"objects":[{"inside":"a"}],"objects":[{"depth":2}]}`,
		`{"name":"caf\u00e9"}`, `{"name":"caf` + "é" + `"}`, `{"na\u006de":"x"}`, `{"name":"` + "\x7f" + `"}`, "{\"name\":\"\x01\"}", "{\"name\":\"\xff\"}",
		`{"ſmall":1}`, `{"prefix":"10.0.0.0/99"}`, `{"when":"yesterday"}`, `{"pointer":null,"number":null,"own":null,"raw":null,"words":null}`,
		`{"map":{"a":["b"]},"any":{"x":1},"float":1.5,"bytes":"AQI=","array":[1,2],"quoted":"7","literal":12}`,
		`{"twin":"a"}`, `{"TWIN":"b"}`, `["a","b"]`, `[]`, `"text"`, `7`, `-7`, `-0`, `null`, `true`, `{}`,
		``, ` `, `{`, `{"name"`, `{"name":`, `{"name":"a"`, `{"name":"a",}`, `{"name":"a"}x`, `{"name" "a"}`, `[1,]`, `[1 2]`, `{1:2}`,
		`01`, `-`, `1.`, `1e`, `.5`, `+1`, `tru`, `nul`, `"\x"`, `"\u12"`, `"unterminated`, "\"tab\tin it\"", `{"raw":01}`, `{"unknown":[}`,
		strings.Repeat("[", 100) + strings.Repeat("]", 100), `{"unknown":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`,
	}
}

// same decodes a document into a value in both ways, and writes the value in both.
func same(t *testing.T, data []byte, target func() any) {
	want, got := target(), target()
	wantErr, err := json.Unmarshal(data, want), Unmarshal(data, got)
	if !reflect.DeepEqual(got, want) || errorText(err) != errorText(wantErr) {
		t.Fatalf("%T from %q:\n got %+v, %v\nwant %+v, %v", want, data, got, err, want, wantErr)
	}
	sameText(t, want)
	sameText(t, reflect.ValueOf(want).Elem().Interface()) // its fields have no address
}

func sameText(t *testing.T, v any) {
	want, wantErr := json.Marshal(v)
	got, err := Marshal(v)
	if string(got) != string(want) || errorText(err) != errorText(wantErr) {
		t.Fatalf("%T %+v:\n got %s, %v\nwant %s, %v", v, v, got, err, want, wantErr)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestSameAsEncodingJSON(t *testing.T) {
	for _, document := range documents() {
		for _, target := range targets() {
			same(t, []byte(document), target)
		}
	}
	for _, v := range []any{nil, 1.5, "a<b>&\u2028é\"\\", map[string]int{"b": 1, "a": 2}, []any{1}, &everything{Own: own{`{"a" : "<" }`}}, everything{Own: own{"{"}},
		everything{Words: []string{}, Raw: json.RawMessage(` { "a\\" : "b \" c" , "\\\"" : [ ] } `), hidden: "x", When: time.Unix(0, 1).UTC()}} {
		sameText(t, v)
	}
	for _, v := range []any{
		map[string]any{"b": json.RawMessage(` [ 1 ] `), "a\n<": "x", "": nil, "c": []map[string]any{{"hostPort": 80, "f": 1.5}}, "d": map[string]string{}},
		map[string]json.RawMessage{"z": json.RawMessage("1"), "y": nil}, map[string]bool(nil), map[int]string{1: "a"}, []any{"a", 1, true, nil, []string(nil)},
		map[netip.Addr]int{netip.IPv6Unspecified(): 1}, struct{ A any }{map[string]any{"k": &everything{}}},
	} {
		sameText(t, v)
	}
	endless := map[string]any{}
	endless["endless"] = endless
	sameText(t, endless)
	endlessList := []any{nil}
	endlessList[0] = endlessList
	sameText(t, endlessList)
	var noPointer any = everything{}
	if err := Unmarshal([]byte("{}"), noPointer); !errors.As(err, new(*json.InvalidUnmarshalError)) {
		t.Errorf("into no pointer: %v", err)
	}
}

// Plain documents are not left to encoding/json, which would do as well.
func TestPlainIsQuick(t *testing.T) {
	for _, document := range documents()[:5] {
		d := decoder{scanner: scanner{data: []byte(document)}}
		var v everything
		if !d.document(reflect.ValueOf(&v).Elem()) {
			t.Errorf("not decoded: %s", document)
		}
		for _, whole := range []any{v, &v} {
			var e encoder
			if !e.value(reflect.ValueOf(whole)) {
				t.Errorf("not encoded: %+v", whole)
			}
		}
	}
}

func FuzzSameAsEncodingJSON(f *testing.F) {
	for _, document := range documents() {
		if len(document) < 1000 {
			f.Add([]byte(document))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, target := range targets() {
			same(t, data, target)
		}
	})
}
