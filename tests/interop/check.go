// Reads an Autonomics export with golang.org/x/mod/sumdb, which none of us wrote.
//
//	check bundle DIR VKEY OLD   checkpoint, every receipt, consistency from size OLD
//	check notes FILE VKEY       one base64 note a line: 1 or 0
//	check proofs FILE           one proof a line: 1 or 0
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type tiles string

func (tiles) Height() int                         { return 8 }
func (tiles) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (dir tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		// x/mod names the height, which C2SP's tlog-tiles fixes.
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(dir), path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// parseTree reads origin, size and root; tlog.ParseTree knows Go's own origin alone.
func parseTree(text string) (tlog.Tree, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] == "" {
		return tlog.Tree{}, fmt.Errorf("not three lines")
	}
	return tlog.ParseTree([]byte("go.sum database tree\n" + lines[1] + "\n" + lines[2] + "\n"))
}

func open(data []byte, vkey string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(vkey)
	must(err)
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	return parseTree(opened.Text)
}

func readLeaves(dir string, size int64) [][]byte {
	var leaves [][]byte
	for index := int64(0); index*256 < size; index++ {
		tile := tlog.Tile{H: 8, L: 0, N: index, W: 256}
		if rest := size - index*256; rest < 256 {
			tile.W = int(rest)
		}
		path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(dir, path))
		must(err)
		for len(data) > 0 {
			length := binary.BigEndian.Uint16(data)
			leaves = append(leaves, data[2:2+length])
			data = data[2+length:]
		}
	}
	return leaves
}

func checkBundle(dir, vkey string, old int64) {
	data, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	must(err)
	tree, err := open(data, vkey)
	must(err)
	reader := tlog.TileHashReader(tree, tiles(dir))
	leaves := readLeaves(dir, tree.N)
	if int64(len(leaves)) != tree.N {
		must(fmt.Errorf("%d leaves, the checkpoint says %d", len(leaves), tree.N))
	}
	for index, leaf := range leaves {
		proof, err := tlog.ProveRecord(tree.N, int64(index), reader)
		must(err)
		must(tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), tlog.RecordHash(leaf)))
	}
	oldRoot, err := tlog.TreeHash(old, reader)
	must(err)
	proof, err := tlog.ProveTree(tree.N, old, reader)
	must(err)
	must(tlog.CheckTree(proof, tree.N, tree.Hash, old, oldRoot))
	fmt.Println(tree.N, tree.Hash)
}

func decode(text string) []byte {
	data, err := base64.StdEncoding.DecodeString(text)
	must(err)
	return data
}

func hash(text string) (h tlog.Hash) {
	copy(h[:], decode(text))
	return h
}

func say(err error) {
	if err != nil {
		fmt.Println(0)
	} else {
		fmt.Println(1)
	}
}

func eachLine(path string, take func(line string)) {
	file, err := os.Open(path)
	must(err)
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		take(lines.Text())
	}
	must(lines.Err())
}

func main() {
	switch os.Args[1] {
	case "bundle":
		old, err := strconv.ParseInt(os.Args[4], 10, 64)
		must(err)
		checkBundle(os.Args[2], os.Args[3], old)
	case "notes":
		eachLine(os.Args[2], func(line string) {
			_, err := open(decode(line), os.Args[3])
			say(err)
		})
	case "proofs":
		eachLine(os.Args[2], func(line string) {
			words := strings.Split(line, " ")
			index, err := strconv.ParseInt(words[0], 10, 64)
			must(err)
			size, err := strconv.ParseInt(words[1], 10, 64)
			must(err)
			var proof tlog.RecordProof
			for _, word := range words[4:] {
				proof = append(proof, hash(word))
			}
			say(tlog.CheckRecord(proof, size, hash(words[2]), index, hash(words[3])))
		})
	}
}
