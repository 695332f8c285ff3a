// The driver of the peer: it reads logs with a parser of its own and times Porcupine's decision alone, a partition
// at a time. It is built against a checkout of Porcupine, whose place the benchmark is told.
//
// Usage: peer -model etcd|kv [-timeout 15s] FILE...
//
// For each partition it prints one line of JSON: file, key, events, verdict (valid, invalid, unknown), seconds.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

type request struct {
	f        string
	key      string
	text     string
	old, new int
}

type answer struct {
	known  bool
	ok     bool
	absent bool
	text   string
	number int
}

const absent = -1 << 40

type log struct {
	events map[string][]porcupine.Event
	keys   []string
	open   map[int]porcupine.Event
	next   int
}

func (l *log) call(process int, asked request) {
	event := porcupine.Event{ClientId: process, Kind: porcupine.CallEvent, Value: asked, Id: l.next}
	l.next++
	l.open[process] = event
	l.add(asked.key, event)
}

func (l *log) answer(process int, said answer) {
	event, found := l.open[process]
	if !found {
		fail(fmt.Errorf("process %d answers what nobody asked", process))
	}
	delete(l.open, process)
	key := event.Value.(request).key
	l.add(key, porcupine.Event{ClientId: process, Kind: porcupine.ReturnEvent, Value: said, Id: event.Id})
}

func (l *log) add(key string, event porcupine.Event) {
	if _, found := l.events[key]; !found {
		l.keys = append(l.keys, key)
	}
	l.events[key] = append(l.events[key], event)
}

// What never returned returns at the end, with an answer that nobody knows.
func (l *log) finish() {
	for process := range l.open {
		l.answer(process, answer{})
	}
}

// A register with compare-and-set. A failed one says that the value was another, as Porcupine's own tests read it.
var etcdModel = porcupine.Model{
	Init: func() interface{} { return absent },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		asked, said, value := input.(request), output.(answer), state.(int)
		switch asked.f {
		case "read":
			return !said.known || said.number == value, state
		case "write":
			return true, asked.new
		}
		if asked.old != value {
			return !said.known || !said.ok, state
		}
		return !said.known || said.ok, asked.new
	},
}

// One key of a store of texts.
var kvModel = porcupine.Model{
	Init: func() interface{} { return "" },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		asked, said, value := input.(request), output.(answer), state.(string)
		switch asked.f {
		case "get":
			return !said.known || said.text == value, state
		case "put":
			return true, asked.text
		}
		return true, value + asked.text
	},
	Hash: func(state interface{}) uint64 {
		hash := fnv.New64a()
		hash.Write([]byte(state.(string)))
		return hash.Sum64()
	},
}

func number(text string) int {
	if text == "nil" {
		return absent
	}
	found, err := strconv.Atoi(strings.Trim(text, "[]"))
	if err != nil {
		fail(err)
	}
	return found
}

func etcdLine(l *log, line string) {
	words := strings.Fields(line)
	if len(words) < 7 || words[1] != "jepsen.util" {
		return
	}
	process, kind, f, value := number(words[3]), words[4], strings.TrimPrefix(words[5], ":"), words[6]
	switch {
	case kind == ":invoke":
		asked := request{f: f}
		if f == "write" {
			asked.new = number(value)
		} else if f == "cas" {
			asked.old, asked.new = number(value), number(words[7])
		}
		l.call(process, asked)
	case kind == ":fail" && f == "read":
		l.answer(process, answer{})
	case kind == ":ok" && f == "read":
		l.answer(process, answer{known: true, number: number(value)})
	case kind == ":ok" || kind == ":fail":
		l.answer(process, answer{known: true, ok: kind == ":ok"})
	}
}

func field(line, name string) string {
	_, rest, found := strings.Cut(line, ":"+name+" ")
	if !found {
		return ""
	}
	if strings.HasPrefix(rest, "\"") {
		rest, _, _ = strings.Cut(rest[1:], "\"")
		return rest
	}
	return strings.TrimRight(strings.Fields(rest)[0], ",}")
}

func kvLine(l *log, line string) {
	if !strings.HasPrefix(line, "{") {
		return
	}
	process, f, value := number(field(line, "process")), field(line, "f")[1:], field(line, "value")
	if field(line, "type") == ":invoke" {
		l.call(process, request{f: f, key: field(line, "key"), text: value})
	} else {
		l.answer(process, answer{known: true, ok: true, text: value})
	}
}

func read(path string, parse func(*log, string)) *log {
	file, err := os.Open(path)
	if err != nil {
		fail(err)
	}
	defer file.Close()
	l := &log{events: map[string][]porcupine.Event{}, open: map[int]porcupine.Event{}}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		parse(l, lines.Text())
	}
	if err := lines.Err(); err != nil {
		fail(err)
	}
	l.finish()
	return l
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}

func main() {
	name := flag.String("model", "etcd", "etcd or kv")
	timeout := flag.Duration("timeout", 15*time.Second, "for each partition")
	flag.Parse()
	model, parse := etcdModel, etcdLine
	if *name == "kv" {
		model, parse = kvModel, kvLine
	}
	words := map[porcupine.CheckResult]string{
		porcupine.Ok: "valid", porcupine.Illegal: "invalid", porcupine.Unknown: "unknown",
	}
	out := json.NewEncoder(os.Stdout)
	for _, path := range flag.Args() {
		l := read(path, parse)
		for _, key := range l.keys {
			began := time.Now()
			result := porcupine.CheckEventsTimeout(model, l.events[key], *timeout)
			out.Encode(map[string]interface{}{
				"file": path, "key": key, "events": len(l.events[key]), "verdict": words[result],
				"seconds": time.Since(began).Seconds(),
			})
		}
	}
}
