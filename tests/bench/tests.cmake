# Measurements, built and run on demand: cmake --build build --target NAME_bench.
file(GLOB FLOE_BENCH CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*_bench.c)
foreach(src ${FLOE_BENCH})
  get_filename_component(name ${src} NAME_WE)
  add_executable(${name} EXCLUDE_FROM_ALL ${src})
  target_link_libraries(${name} PRIVATE floe_lib)
endforeach()
target_sources(group_bench PRIVATE ${CMAKE_CURRENT_LIST_DIR}/group_members.c)
