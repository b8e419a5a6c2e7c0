# What busybox's programs make of numbers and bytes. Run in a guest, and compared with programs.answers, which is what
# a real processor made of it:  busybox sh programs.sh EMPTY-FOLDER > programs.answers 2>&1
cd "$1" || exit 1
export LC_ALL=C TZ=UTC

# Floating point, of SSE and of the x87.
awk 'BEGIN { for (i = 1; i <= 40; i++) printf "%d %.15g %.15g %.15g %.15g %.15g\n", i, sqrt(i), sin(i), exp(i / 7), log(i), atan2(i, 3) }'
awk 'BEGIN { for (i = 0; i < 20; i++) printf "%.17g %e %g\n", i / 7, i * 1e300 * 1e-5, i / 3 }'
awk 'BEGIN { print 2 ^ 53 + 1, 1e308 * 10, -1 / 3, int(-7.9), 7 % 3, -7 % 3, 5.5 % 2 }'
printf '%08x %o %e %.10f %s|%-10s|%+d\n' 3735928559 511 12345.678 3.14159265358979 str left 42

# Integers: shifts, multiplication, division, and numbers of many words.
for i in 1 2 3 4 5 6 7 8; do
  echo $((i * i * i * 7919 % 1009)) $((1 << i * 7)) $((-123456789012345 / (i + 2))) $((0x7fffffffffffffff >> i)) $((~i & 0xff ^ i))
done
echo '2 64 ^ p 17 v p 100 7 / p 1 3 / p 10 k 2 v p' | dc
echo 'scale=50; 4*a(1); sqrt(2); e(1); l(10); 2^200; 17/3' | bc -l
expr 12345 \* 6789 % 1000
factor 1234567890123 600851475143

# Bytes: hashes, compression there and back, strings.
seq 1 3000 > n
sort -rn n | md5sum
head -c 300000 /dev/zero | tr '\0' 'x' | gzip -9 | gunzip | sha512sum
seq 1 30000 | gzip -c > n.gz
for hash in sha256sum sha1sum sha3sum md5sum wc; do gzip -dc n.gz | $hash; done
seq 1 20000 | bzip2 -c | bunzip2 -c | sha256sum
base64 n.gz | base64 -d | cmp - n.gz && echo same
tar cf t.tar n n.gz && tar tf t.tar && tar xOf t.tar n | md5sum
echo 'the quick brown fox' | sed -E 's/([a-z]+) ([a-z]+)/\2-\1/g; y/abc/xyz/'
echo abc123def456 | grep -oE '[0-9]+'
hexdump -C n | tail -2
rev n | sed -n 12p
fold -w 7 n | tail -1
expand n | md5sum
diff n /dev/null | wc -l
date -u -d '2000-02-29 12:34:56' +%s

# Processes and pipes.
seq 1 5000 | awk '{ s += $1 * $1; a[$1 % 17]++ } END { print s; for (i = 0; i < 17; i++) printf "%d ", a[i]; print "" }'
seq 1 5 | xargs -I{} sh -c 'echo {}' | tr '\n' ' '
f() { [ "$1" -le 1 ] && echo 1 || echo $(($1 * $(f $(($1 - 1))))); }
f 15
for j in 1 2 3; do
  (exit $j)
  echo "status $?"
done
mkdir -p d/e/f && touch d/e/f/g && find d | sort
echo done
