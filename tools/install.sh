#!/usr/bin/env bash
# Copyright (c) MMMaskAny contributors. Licensed under Apache-2.0.
# Installs mmmaskany with everything it needs. Run it again at any time: it does only what is missing.
set -euo pipefail

usage() {
  cat <<'EOF'
Usage: bash tools/install.sh [--classification] [--hosts SET] [--python PYTHON | --current-env] [--check]

Makes or reuses .venv in the repository, puts the verified set of requirements/ there and proves that it works:
about 5 minutes on two cores, 3 of them for compiling mmcv's operators (once: pip keeps the result).

  --classification only what trains classifiers (MaskAny, MaskSub, MixMask): no detection, no segmentation, no tests,
                   and no compiler. Run it without this option later, and the rest is added
  --hosts SET      originals (Python 3.10 to 3.12), or onedl, their maintained forks (3.10 and later); default: the set
                   that is there, else what the Python can build: the forks from 3.13 on. The other set is taken out
  --python PYTHON  the interpreter that .venv is made with; default: the first one found, 3.11 first
  --current-env    install into the active environment instead, and keep what works there: a torch from 2.6 on
                   with its GPU build, an mmcv with operators, the libraries or their onedl-* forks
  --check          change nothing; say what is missing and exit 1 if anything is
  -h, --help       print this text

pip's own settings (PIP_INDEX_URL, PIP_CACHE_DIR ...) hold. MAX_JOBS limits how many files are compiled at a time.
EOF
}

say() { printf '%s\n' "$*"; }

die() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
python='' hosts='' current_env=false check=false purpose=everything
while (($#)); do
  case "$1" in
    --python) [[ -n "${2:-}" ]] || die '--python needs an interpreter, for example --python python3.11'; python="$2"; shift ;;
    --python=*) python="${1#*=}" ;;
    --hosts) [[ -n "${2:-}" ]] || die '--hosts needs a set: originals or onedl'; hosts="$2"; shift ;;
    --hosts=*) hosts="${1#*=}" ;;
    --current-env) current_env=true ;;
    --classification) purpose=classification ;;
    --check) check=true ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "unknown option $1" ;;
  esac
  shift
done
[[ "$hosts" =~ ^(originals|onedl)?$ ]] || die "--hosts takes originals or onedl, but got $hosts"
$current_env && [[ -n "$python" ]] && die '--python names the interpreter of .venv; --current-env uses the active one'

work="$(mktemp -d "${TMPDIR:-/tmp}/mmmaskany-install.XXXXXX")"
work="$(cd -- "$work" && pwd -P)"
log="$work/log"
: >"$log"
child='' keep_log=false
finish() {
  [[ -z "$child" ]] || kill -TERM -- "-$child" 2>/dev/null || true
  if $keep_log; then find "$work" -mindepth 1 ! -path "$log" -delete; else rm -rf -- "$work"; fi
}
trap finish EXIT
trap 'say "install.sh: stopped; run it again to go on"; exit 130' INT TERM

# ---------------------------------------------------------------------------------------------- the environment

# unfit PYTHON SET: what keeps an interpreter from carrying a set of libraries, or any if none is named; empty if nothing.
unfit() {
  command -v -- "$1" >/dev/null || { say 'not found'; return; }
  "$1" - "$2" 2>/dev/null <<'EOF' || say 'does not run'
import sys

version = '.'.join(map(str, sys.version_info[:3]))
if sys.version_info < (3, 10):
    print(f'is Python {version}, but 3.10 or later is needed')
elif sys.argv[1] == 'originals' and sys.version_info >= (3, 13):
    print(f'is Python {version}, but the originals need 3.10 to 3.12 (mmcv 2.1.0 does not build on 3.13): --hosts onedl')
else:
    try:
        import ensurepip, venv  # noqa: E401
    except ImportError:
        print('has no venv module (Debian, Ubuntu: apt-get install python{}.{}-venv)'.format(*sys.version_info))
EOF
}

make_venv() {
  local found='' candidate why
  for candidate in ${python:-python3.11 python3.12 python3.10 python3.13 python3 python}; do
    why="$(unfit "$candidate" "$hosts")"
    [[ -z "$why" ]] && { found="$candidate"; break; }
    printf '  %s: %s\n' "$candidate" "$why" >>"$work/unfit"
  done
  if [[ -z "$found" ]]; then
    cat -- "$work/unfit" >&2
    die 'no Python to make .venv with: install Python 3.11, or another from 3.10 on, with its venv module, or name one with --python'
  fi
  if [[ -e "$root/.venv" && ! -e "$root/.venv/pyvenv.cfg" && -n "$(ls -A -- "$root/.venv" 2>/dev/null)" ]]; then
    die "$root/.venv is no virtual environment; move it away, or use --current-env"
  fi
  [[ -e "$root/.venv" ]] && say '.venv cannot run pip (an interrupted run, or its Python is gone): making it anew'
  say "Making .venv with $("$found" -c 'import sys; print(sys.executable, sys.version.split()[0])')"
  if ! "$found" -m venv --clear -- "$root/.venv" >>"$log" 2>&1; then
    tail -n 15 -- "$log" >&2
    die "cannot make $root/.venv (no space or no write permission there? Debian, Ubuntu: is python3-venv installed?)"
  fi
}

hint=''
if $current_env; then
  py="$(command -v python || command -v python3 || true)"
  [[ -n "$py" ]] || die 'no python on the PATH: activate an environment first, or leave out --current-env'
  "$py" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$py is $("$py" -V 2>&1), but Python >= 3.10 must hold"
  "$py" -m pip --version >>"$log" 2>&1 || die "$py has no pip: run '$py -m ensurepip' first"
else
  py="$root/.venv/bin/python"
  hint=" Activate it with: source $root/.venv/bin/activate"
  if ! "$py" -m pip --version >>"$log" 2>&1; then
    $check && die '.venv is missing or unfinished: run bash tools/install.sh'
    : >"$log"
    make_venv
  elif [[ -n "$python" ]]; then
    say "--python has no say: .venv exists, with $("$py" -V). Remove it to start over."
  fi
fi

# ------------------------------------------------------------------------------------------- what is missing there

# One line "step <tab> distribution <tab> reason" for everything that is missing or broken.
probe() {
  local status=0
  "$py" -W ignore tools/misc/missing_packages.py "$($current_env && say any || say verified)" "$purpose" "$hosts" 2>>"$log" || status=$?
  if ((status > 128)); then
    printf 'mmcv\t%s\tits operators crash\n' "$mmcv" # compiled for another torch
  elif ((status)); then
    tail -n 15 -- "$log" >&2
    die "$py could not be looked at"
  fi
}

plan=''
look() { plan="$(probe)"; }
needs() { grep -q "^$1"$'\t' <<<"$plan"; }
names() { grep "^$1"$'\t' <<<"$plan" | cut -f 2; }
reasons() { grep "^$1"$'\t' <<<"$plan" | awk -F '\t' '{print "  " $2 ": " $3}'; }

cd -- "$root"
say "Looking at $py ..."
[[ -n "$hosts" ]] || hosts="$("$py" -c 'import runpy; print(runpy.run_path("mmmaskany/environment.py")["choose_set"]())')"
if [[ "$hosts" == onedl ]]; then
  pins=(requirements/onedl.txt) mmcv=onedl-mmcv
else
  pins=(requirements/{torch,hosts,classification}.txt) mmcv=mmcv
fi
look
if [[ -z "$plan" ]]; then
  say "Everything is there (${SECONDS} s).$hint"
  exit 0
fi
absent="$(awk -F '\t' '$3 == "not installed" {print $2}' <<<"$plan" | xargs)"
[[ -n "$absent" ]] && say "Not installed: $absent"
reasons '[a-z]*' | { grep -v ': not installed$' || true; } | cut -c 1-200
if $check; then
  say "The shortest way: $("$py" -c 'import runpy; print(runpy.run_path("mmmaskany/environment.py")["way"]())')"
  exit 1
fi

# ------------------------------------------------------------------------------------------- installing, step by step

free_mb() { df -Pm -- "$1" | awk 'NR == 2 {print $4}'; }

# room FOLDER MEGABYTES WHAT
room() {
  local free
  free="$(free_mb "$1")"
  ((free >= $2)) || die "no disk space: $3 needs at least $(($2 / 1000)).$(($2 % 1000 / 100)) GB in $1, but $((free / 1000)).$((free % 1000 / 100)) GB are free"
}

# The C++ compiler: $CXX, else g++, else what torch would take.
compiler() {
  if [[ -n "${CXX:-}" ]]; then say "$CXX"; elif command -v g++ >/dev/null; then say g++; else say c++; fi
}

# diagnose STEP STATUS: says in words what a failed step was missing; the log and the machine tell.
diagnose() {
  local step="$1" cxx
  cxx="$(compiler)"
  if grep -qiE 'No space left on device|Errno 28' "$log"; then
    say "no disk space left ($(free_mb "$root") MB in $root, $(free_mb "$work") MB in ${TMPDIR:-/tmp}; TMPDIR moves the second)"
  elif grep -qE 'Python\.h: No such file' "$log"; then
    say 'no Python headers: Python.h is missing (Debian, Ubuntu: apt-get install python3-dev, of the version of .venv)'
  elif grep -qE 'Killed signal|cc1plus.*Killed|cannot allocate memory|out of memory' "$log"; then
    say 'not enough memory to compile mmcv with so many jobs: run this again with MAX_JOBS=1 set'
  elif grep -qE 'CUDA version .* mismatches|CUDA_HOME environment variable is not set' "$log"; then
    say "the CUDA toolkit (nvcc) does not match torch's CUDA build: $(grep -hoE 'The detected CUDA version.*|CUDA_HOME environment.*' "$log" | tail -n 1)"
  elif grep -qE 'externally-managed-environment' "$log"; then
    say 'the active Python belongs to the system and refuses installs: activate a virtual environment, or leave out --current-env'
  elif grep -qiE 'name resolution|NewConnectionError|Failed to establish|Connection refused|Network is unreachable|timed out|ProxyError|SSLError|Max retries|from versions: none|No matching distribution|not a trusted or secure host' "$log"; then
    say 'no network: pip cannot reach its package index, or it lacks this version (proxy? PIP_INDEX_URL? PIP_CERT?)'
  elif grep -qE 'Permission denied|Errno 13|Read-only file system' "$log"; then
    say "no write permission: $(grep -hoE 'Permission denied.*|Errno 13.*|Read-only file system.*' "$log" | tail -n 1)"
  elif [[ "$step" == mmcv ]] && ! command -v -- "${cxx%% *}" >/dev/null; then
    say "no C++ compiler: ${cxx%% *} is not on the PATH, and mmcv's operators have to be compiled (Debian, Ubuntu: apt-get install g++). Classifiers need none of them: bash tools/install.sh --classification"
  elif grep -qE 'C\+\+20 or later compatible compiler' "$log"; then
    say "this torch needs C++20, for which mmcv is compiled only where TMPDIR is a folder in which programs may be executed, without spaces in its name"
  elif (($2 > 128)); then
    say "the step '$step' was ended by signal $(($2 - 128)) (out of memory? MAX_JOBS=1 compiles one file at a time)"
  else
    say "the step '$step' failed"
  fi
}

clock() { printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); }

# run STEP TITLE COMMAND...: the command's output goes to the log; a line every 30 s says that it is still at work.
run() {
  local step="$1" title="$2" start=$SECONDS beat=30 status=0 compiled
  shift 2
  say "$title ..."
  printf '\n== %s\n' "$*" >"$log"
  set -m # a process group of its own, so that stopping this script stops the compilers too
  "$@" >>"$log" 2>&1 &
  child=$!
  set +m
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.5
    if ((SECONDS - start >= beat)); then
      compiled="$(grep -oE '^ *\[[0-9]+/[0-9]+\]' "$log" 2>/dev/null | tail -n 1 | tr -d ' []' || true)"
      say "  ... $(clock $((SECONDS - start)))${compiled:+, $compiled files compiled}"
      beat=$((beat + 30))
    fi
  done
  wait "$child" || status=$?
  child=''
  if ((status)); then
    keep_log=true
    { grep -E '[Ee]rror|ERROR|fatal|FAILED' "$log" || cat -- "$log"; } | tail -n 10 >&2
    die "$(diagnose "$step" "$status"). Full log: $log"
  fi
  say "  done in $(clock $((SECONDS - start)))"
}

export PIP_DISABLE_PIP_VERSION_CHECK=1
pip=("$py" -m pip install)

# The lines of requirements/ for what a step lacks.
wanted() {
  local name
  for name in $(names "$1"); do
    { grep -hoE "^$name[<>=][^ ]*" "${pins[@]}" requirements/{libraries,runtime,tests,export,vis}.txt || say "$name"; } | head -n 1
  done
}

missing_library() {
  needs system || return 0
  reasons system >&2
  die 'OpenCV cannot be imported, most likely for want of a system library (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0)'
}

# install STEP TITLE ARGUMENTS...: pip installs what the step lacks.
install() {
  local missing
  mapfile -t missing < <(wanted "$1")
  run "$1" "$2" "${pip[@]}" "${@:3}" "${missing[@]}"
  prove "$@"
}

# prove STEP TITLE ARGUMENTS...: if what was installed does not work, pip installs it from scratch.
prove() {
  local step="$1" title="$2" missing
  shift 2
  look
  missing_library
  needs "$step" || return 0
  say 'pip is content, yet this does not work:'
  reasons "$step"
  mapfile -t missing < <(wanted "$step")
  run "$step" "$title, from scratch, without pip's cache" \
    "${pip[@]}" --no-cache-dir --force-reinstall --no-deps "$@" "${missing[@]}"
  look
  needs "$step" || return 0
  reasons "$step" >&2
  die "${missing[*]} still does not work after a fresh install"
}

missing_library
if needs left; then
  reasons left >&2
  die 'pip does not see the above: remove it by that command, then run this again'
fi
# Both sets own the same files, so what is left of either, once the one is out, is of no use.
if needs others; then
  mapfile -t owners < <("$py" -c '
import runpy
environment = runpy.run_path("mmmaskany/environment.py")
print(*sum(environment["found_sets"](environment["distributions"]()).values(), []), sep="\n")')
  run others "Taking out ${owners[*]} (seconds)" "$py" -m pip uninstall -y "${owners[@]}"
  look
fi

# By what pip calls it: torch.__version__ may say 2.11.0+cu130 where pip installed 2.11.0.
keep_torch() {
  "$py" -c 'from importlib.metadata import version; print("torch==" + version("torch"))' >"$work/keep.txt"
  grep -hv '^torch' "${pins[@]}" requirements/libraries.txt >>"$work/keep.txt"
}
if needs torch; then
  if $current_env && grep -q $'^torch\ttorch\t.*must hold' <<<"$plan"; then
    die "$(reasons torch | head -n 1 | xargs). It is yours, so it stays; without --current-env a fresh .venv gets the verified one"
  fi
  room "$("$py" -c 'import sys; print(sys.prefix)')" 3000 'torch with its libraries'
  if $current_env && [[ "$(names torch)" == torchvision ]]; then # the one that was made for the torch that is there
    keep_torch
    run torch 'Installing torchvision (seconds)' "${pip[@]}" -c "$work/keep.txt" torchvision
    look
  else
    install torch "Installing $(wanted torch | xargs) (about 2 minutes)"
  fi
fi
keep_torch # from here on pip must leave it alone
keep=(-c "$work/keep.txt")

if needs build || needs mmcv || needs self; then
  mapfile -t missing < <(wanted build)
  run build 'Installing the build tools (seconds)' "${pip[@]}" "${keep[@]}" -r requirements/build.txt "${missing[@]}"
  look
  missing_library
fi

# mmcv with operators and without own the same files, so the one goes before the other comes; and both where both were
# there, for what is left of them then is of no use.
if needs mmcv; then
  mapfile -t owners < <("$py" -c '
from importlib.metadata import distributions
print(*{found.name for found in distributions()} & {"mmcv", "mmcv-lite", "onedl-mmcv"}, sep="\n")')
  if [[ " ${owners[*]} " =~ \ (mmcv-lite|onedl-mmcv)\  || ( $purpose == classification && -n "${owners[*]}" ) ]]; then
    run mmcv "Taking out ${owners[*]} (seconds)" "$py" -m pip uninstall -y "${owners[@]}"
  fi
fi

# What a build of mmcv is called with: no debug information, which takes the compiler about half the time, no GPU where
# $hide_gpu says so, and tools/misc/compiler.sh in the compiler's place, under its name, as torch asks which one it is. The
# last not where nothing may be executed in the temporary folder, or where its path contains spaces.
building() {
  local cxx major minor standard=c++17 script
  cxx="$(compiler)"
  builder=(env "CFLAGS=-g0 ${CFLAGS:-}" "${hide_gpu[@]}")
  script="$work/compiler/$(basename -- "${cxx%% *}")"
  command -v -- "${cxx%% *}" >/dev/null || return 0
  IFS=. read -r major minor _ < <(sed -n 's/^torch==//p' "$work/keep.txt")
  ((major * 1000 + minor < 2014)) || standard=c++20
  mkdir -- "$work/compiler"
  cp -- tools/misc/compiler.sh "$script"
  chmod +x -- "$script"
  echo '#include <torch/types.h>' >"$work/compiler/torch.h"
  if [[ "$script" != *[[:space:]]* ]] && REAL_CXX="$cxx" CXX_STANDARD="$standard" "$script" --version >>"$log" 2>&1; then
    builder+=("REAL_CXX=$cxx" "CXX_STANDARD=$standard" "CXX=$script")
  else
    say "Nothing can be executed in $work, or there are spaces in its name: compiling will take longer. TMPDIR moves it."
  fi
}

# The compiler needs minutes, pip the network: so what is missing besides comes meanwhile, and what fails of that is done
# again, and told, by its own step below.
compile_mmcv() {
  local builds others
  "${builder[@]}" "$py" -m pip wheel -v --no-deps --no-build-isolation -w "$work" "$1" &
  builds=$!
  mapfile -t others < <(wanted hosts && wanted tests)
  ((!${#others[@]})) || "${pip[@]}" "${keep[@]}" "${others[@]}" >"$work/others" 2>&1 || true
  wait "$builds" && "${pip[@]}" "${keep[@]}" --find-links "$work" "$1"
}
if needs mmcv && [[ $purpose == classification ]]; then
  # The forks have no mmcv-lite. Pip builds theirs apart from the environment, where no torch is, and so without
  # operators; and must not keep that for when they are wanted.
  install mmcv "Installing $(wanted mmcv) (seconds)" --no-cache-dir "${keep[@]}"
elif needs mmcv; then
  room "$work" 1500 'compiling mmcv'
  hide_gpu=()
  if "$py" -c 'import torch, torch.utils.cpp_extension as e; exit(not torch.cuda.is_available() or bool(e.CUDA_HOME))' 2>>"$log"; then
    say 'There is a GPU but no CUDA compiler (nvcc): mmcv gets operators for the CPU only. Classification trains on the GPU'
    say 'all the same; for detection install the CUDA toolkit of this torch and run this again.'
    hide_gpu=(CUDA_VISIBLE_DEVICES=)
  fi
  building
  title='Installing mmcv (seconds if pip has kept it; else about 3 minutes of compiling on two cores)'
  run mmcv "$title, and all else meanwhile" compile_mmcv "$(wanted mmcv)"
  pip=("${builder[@]}" "${pip[@]}")
  prove mmcv "$title" -v --no-build-isolation "${keep[@]}"
  pip=("$py" -m pip install)
fi
needs hosts && install hosts "Installing $(wanted hosts | xargs) (about a minute)" "${keep[@]}"
needs tests && install tests "Installing $(wanted tests | xargs) (seconds)" "${keep[@]}"
# Without what grad-cam asks for: all is there, but for a second OpenCV, which would overwrite the one that mmcv brought.
needs vis && install vis "Installing $(wanted vis | xargs) (seconds)" --no-deps "${keep[@]}"
needs self && run self 'Installing mmmaskany itself, editable (seconds)' "${pip[@]}" --no-deps --no-build-isolation -e .

look
if [[ -n "$plan" ]]; then
  reasons '[a-z]*' >&2
  die 'the above still does not work'
fi
"$py" tools/misc/check_env.py || die 'the environment cannot train; the page above says why'
say "Installed in $(clock $SECONDS).$hint"
