# Completion of dv for bash. dv sees the line as typed: bash by itself would cut `corgi:v1` at the colon.
_dv_completion() {
    local answer line
    answer=$(_DV_COMPLETE=bash _DV_LINE="${COMP_LINE:0:COMP_POINT}" _DV_BREAKS="$COMP_WORDBREAKS" \
        "$1" 2>/dev/null) || return 0
    COMPREPLY=()
    case "${answer%%$'\n'*}" in
        files) compopt -o default -o filenames 2>/dev/null; return 0 ;;
        folders) compopt -o dirnames -o filenames 2>/dev/null; return 0 ;;
    esac
    compopt -o nosort 2>/dev/null
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done <<<"$answer"
    COMPREPLY=("${COMPREPLY[@]:1}")
    return 0
}
complete -F _dv_completion dv
